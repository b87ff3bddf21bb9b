/**
 * What a target's datagrams leave from and go to, in one spelling: `node/n1` and `undrop/n1` are n1, and a Service is itself
 * whatever its port and endpoint. Two diagnoses that share one would count each other's losses as their own.
 */
export const endsOf = (target: string): string[] =>
  target
    .split('->')
    .map((end) => end.trim().replace(/^(node|undrop)\//, '').replace(/[:@].*$/s, '')); // prettier-ignore
