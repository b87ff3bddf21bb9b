import type { Draft } from '../../domain/alert.ts';
import { digestOf } from '../../domain/digest.ts';
import { type Said, at, ignored, listAt, objectAt, quoted, textAt } from './said.ts';

/** Alertmanager's webhook, version 4 (sent by 0.x up to 0.34 at least). A delivery has no id. */
export function alertmanager(body: unknown): Said {
  const version = at(body, 'version');
  if (at(body, 'orgId') !== undefined) return ignored('this is what Grafana sends: configure the kind grafana');
  if (version !== '4') return ignored(`no message of Alertmanager: its version is ${quoted(version)}, not "4"`);
  return group(body);
}

/**
 * The alerts of a group. Of the group's own fields none is used: `commonLabels` is computed over the alerts that
 * `max_alerts` left, and says that a node is common to all where it is not.
 */
export function group(body: unknown, links: (alert: unknown) => Draft['links'] = () => ({})): Said {
  const drafts = listAt(body, 'alerts').flatMap((alert): Draft[] => {
    const status = at(alert, 'status');
    if (status !== 'firing' && status !== 'resolved') return [];
    const labels = objectAt(alert, 'labels');
    return [
      {
        // Equal for equal labels, in every replica and version; the same is computed where it was left out.
        problem: textAt(alert, 'fingerprint') ?? digestOf(labels).slice(0, 16),
        status,
        // A resolved alert can have lost its annotations.
        title: textAt(alert, 'annotations', 'summary') ?? labels['alertname'],
        severity: labels['severity'],
        at: at(alert, status === 'firing' ? 'startsAt' : 'endsAt'),
        labels,
        annotations: at(alert, 'annotations'),
        links: {
          runbook: at(alert, 'annotations', 'runbook_url'),
          generator: at(alert, 'generatorURL'),
          ...links(alert),
        },
      },
    ];
  });
  const truncated = Number(at(body, 'truncatedAlerts') ?? 0);
  if (truncated > 0)
    return { drafts, ignored: `max_alerts of the sender left out ${truncated} more alerts of the group` };
  return drafts.length ? { drafts } : ignored('no alert in it is firing or resolved');
}
