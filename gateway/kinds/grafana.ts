import { group } from './alertmanager.ts';
import { type Said, at, ignored, quoted } from './said.ts';

/** The webhook contact point of Grafana's alerting, version 1. A delivery has no id. */
export function grafana(body: unknown): Said {
  const version = at(body, 'version');
  if (version !== '1' || at(body, 'orgId') === undefined)
    return ignored(`no message of Grafana's alerting: version ${quoted(version)}, orgId ${quoted(at(body, 'orgId'))}`);
  return group(body, (alert) => ({
    silence: at(alert, 'silenceURL'),
    dashboard: at(alert, 'panelURL') || at(alert, 'dashboardURL'),
  }));
}
