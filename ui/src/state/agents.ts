import type { AgentSpec, Settings } from '../ipc/contract';

export type AgentKind = Settings['defaultAgent'];

export interface AgentChoice {
  kind: AgentKind;
  name: string;
  /** One line on what it is. */
  hint: string;
  /** What is missing before it can answer, in words, or null. */
  missing: string | null;
}

/** What a new session may talk to, as the settings are now. */
export function agentChoices(settings: Settings): AgentChoice[] {
  const model = settings.modelName.trim();
  const webhook = settings.webhookUrl.trim();
  return [
    { kind: 'demo', name: 'Demo agent', hint: 'Built in. No key, no network.', missing: null },
    {
      kind: 'model',
      name: 'Model',
      hint: model === '' ? 'Any OpenAI-compatible model.' : model,
      missing: model === '' || settings.modelBaseUrl.trim() === '' ? 'No model is set up yet.' : null,
    },
    {
      kind: 'webhook',
      name: 'Webhook',
      hint: webhook === '' ? 'An agent of your own, by URL.' : hostOf(webhook),
      missing: webhook === '' ? 'No webhook URL is set yet.' : null,
    },
  ];
}

/** How the choice is registered in the session. */
export function agentSpec(kind: AgentKind, settings: Settings): AgentSpec {
  const base = { triggers: 'user-messages' as const };
  switch (kind) {
    case 'demo':
      return { ...base, id: 'demo', name: 'Demo agent', endpoint: 'builtin:demo' };
    case 'model':
      return { ...base, id: 'model', name: settings.modelName.trim() || 'Model', endpoint: 'builtin:model' };
    case 'webhook':
      return { ...base, id: 'webhook', name: hostOf(settings.webhookUrl), endpoint: settings.webhookUrl.trim() };
  }
}

function hostOf(url: string): string {
  try {
    return new URL(url.trim()).host;
  } catch {
    return url.trim();
  }
}

/** Failures of an agent of this computer that its settings may mend: what its model or webhook is, and the key. */
const OF_SETTINGS = new Set([
  'agent_disabled',
  'agent_misconfigured',
  'agent_refused',
  'agent_unknown',
  'agent_unreachable',
  'model_misconfigured',
  'model_not_configured',
  'model_redirected',
  'model_unreachable',
]);

/** Whether a failure with this code may go when the settings are changed. Too many requests or a server in trouble do not. */
export function isMendedBySettings(code: string): boolean {
  const status = /^model_http_(\d{3})$/.exec(code)?.[1];
  return OF_SETTINGS.has(code) || (status !== undefined && /^4/.test(status) && !['408', '425', '429'].includes(status));
}
