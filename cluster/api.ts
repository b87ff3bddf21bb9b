import {
  CoreV1Api,
  DiscoveryV1Api,
  type KubeConfig,
  KubernetesObjectApi,
  NetworkingV1Api,
} from '@kubernetes/client-node';
import { serverWords } from '../domain/api-words.ts';
import { innermost } from '../domain/errors.ts';

/** Longest wait for one answer; the client library itself would wait for ever. */
const answerMs = 10_000;

/** A refusal or silence of the API server, with its own words. */
export class ReadError extends Error {
  /** HTTP status; 0: no answer. */
  readonly status: number;
  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

/** The API groups that undrop reads, and what this account was not allowed to read. */
export class Reader {
  readonly core: CoreV1Api;
  readonly discovery: DiscoveryV1Api;
  readonly networking: NetworkingV1Api;
  /** Objects of any kind. */
  readonly objects: KubernetesObjectApi;
  /** What was refused -> the server's words. */
  readonly denied: Record<string, string> = {};

  constructor(config: KubeConfig) {
    this.core = config.makeApiClient(CoreV1Api);
    this.discovery = config.makeApiClient(DiscoveryV1Api);
    this.networking = config.makeApiClient(NetworkingV1Api);
    this.objects = KubernetesObjectApi.makeApiClient(config);
  }

  /**
   * What must be there: one call in bounded time. @param what as the message's first words: `Service shop/echo`
   * @throws ReadError with the status and the server's words
   */
  async must<T>(what: string, call: () => Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new ReadError(`${what}: no answer within ${answerMs / 1000} s`, 0)), answerMs);
    });
    try {
      return await Promise.race([call(), late]);
    } catch (error) {
      throw error instanceof ReadError ? error : new ReadError(`${what}: ${wordsOf(error)}`, statusOf(error));
    } finally {
      clearTimeout(timer);
    }
  }

  /** What may be there: undefined where it is not, or may not be read, which is then written down. */
  async may<T>(what: string, call: () => Promise<T>): Promise<T | undefined> {
    try {
      return await this.must(what, call);
    } catch (error) {
      if (!(error instanceof ReadError)) throw error;
      if (error.status !== 404) this.denied[what] = error.message;
      return undefined;
    }
  }
}

const statusOf = (error: unknown): number =>
  error !== null && typeof error === 'object' && 'code' in error && typeof error.code === 'number' ? error.code : 0;

/** The server's own words where it refused, else what the network said. */
const wordsOf = (error: unknown): string =>
  (error !== null && typeof error === 'object' && 'body' in error && serverWords(error.body)) || innermost(error);
