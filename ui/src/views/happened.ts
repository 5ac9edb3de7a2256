import { clip, plainWords, summaryOf } from '../components/payload';
import { withoutSecrets } from '../components/secrets';
import type { CurrentSession } from '../state/current.svelte';
import type { Row } from '../state/row.svelte';

/** One thing that happened in a session, on a line. */
export interface Happened {
  who: string;
  what: string;
  kind: 'text' | 'tool' | 'thought';
}

const LONGEST = 160;

/** The last things that happened before an approval was asked for: what the agent knew when it asked. */
export function before(current: CurrentSession, rows: readonly Row[], messageId: string, approvalId: string, most = 5): Happened[] {
  const happened: Happened[] = [];
  for (const row of rows) {
    const { role, actorId } = row.meta;
    const who = current.isOwn(row) ? 'You' : role === 'user' ? current.personName(actorId) : role === 'system' ? 'System' : current.agentName(actorId);
    for (const { value } of row.parts) {
      if (value.type === 'tool-call') {
        if (row.id === messageId && value.approval?.id === approvalId) return happened.slice(-most);
        const about = withoutSecrets(summaryOf(value.input, value.arguments));
        const end = value.state === 'failed' ? ' — failed' : value.state === 'denied' ? ' — denied' : '';
        happened.push({ who, what: clip(`${value.title ?? value.name}${about === '' ? '' : ` ${about}`}${end}`, LONGEST), kind: 'tool' });
      } else if (value.type === 'text' && value.text.trim() !== '') {
        happened.push({ who, what: clip(withoutSecrets(plainWords(value.text)), LONGEST), kind: 'text' });
      } else if (value.type === 'reasoning' && value.text.trim() !== '') {
        happened.push({ who, what: clip(withoutSecrets(plainWords(value.text)), LONGEST), kind: 'thought' });
      }
    }
    if (row.id === messageId) return happened.slice(-most);
  }
  return [];
}
