import type { Item, Part, ToolCallPart } from '../contract';

/** Texts and messages the scripted backend speaks with. */
export const ANSWER = `Here is what I found, and what I would do next.

## What the log says

The session has **three writers**: you, the demo agent and the reader on your phone. All of them append to *one* stream, so the order is the same for everybody:

1. Your message is appended and gets an offset.
2. The agent reads up to that offset, then writes its answer as chunks.
3. Each reader folds the chunks into the same rows.

> A stream is the only truth. Everything on screen can be thrown away and built again.

### Reading it back

\`\`\`typescript
const stream = client.stream(new URL("/v1/stream/sessions/42", base));

for await (const batch of stream.follow(lastOffset, { live: true })) {
  // Rows and offset are stored in one transaction.
  await store.commit(fold.apply(batch.items), batch.nextOffset);
}
\`\`\`

| step | before | after | saved |
| :--- | ---: | ---: | ---: |
| open from disk | 412 ms | 38 ms | 91 % |
| first token | 1 250 ms | 610 ms | 51 % |
| catch up, 10 000 events | 3.4 s | 0.9 s | 74 % |

- [x] resume from the stored offset
- [x] no message twice
- [ ] full-text search

See [the protocol](https://example.org/durable-streams) or run \`threadkeep tail\` to watch. A link such as [this one](javascript:alert(1)) is not opened, raw <b>HTML</b> is text, and ![a chart](https://example.org/chart.png) is not loaded.`;

export const THINKING =
  'The question is about durability, so I should first look at how the session is stored, then at what happens when the window goes away. I can check the clock to name a time, and I need permission before I touch the file.';

export const AFTER_APPROVAL = `Done: \`notes/old-draft.md\` is gone, and the log has a record of who allowed it.\n\nAnything else?`;
export const AFTER_DENIAL = `All right, I left \`notes/old-draft.md\` where it is.`;

let counter = 0;

export function newId(prefix: string): string {
  counter += 1;
  return `${prefix}-${String(counter)}`;
}

export function item(role: Item['role'], parts: Part[], at: number, more: Partial<Item> = {}): Item {
  return {
    id: newId('m'),
    role,
    actorId: role === 'user' ? 'ana' : 'demo',
    createdAt: new Date(at).toISOString(),
    isComplete: true,
    parts,
    error: null,
    stopped: null,
    finishReason: null,
    hasGap: false,
    refused: 0,
    delivery: null,
    ...more,
  };
}

export function text(value: string): Part {
  return { type: 'text', text: value };
}

export function call(name: string, input: ToolCallPart['input'], more: Partial<ToolCallPart> = {}): Part {
  return {
    type: 'tool-call',
    id: newId('call'),
    name,
    arguments: JSON.stringify(input),
    input,
    state: 'done',
    output: null,
    error: null,
    approval: null,
    ...more,
  };
}

/** A past conversation that shows most of what a message can hold. */
export function conversation(now: number): Item[] {
  const minute = 60_000;
  const yesterday = now - 26 * 60 * minute;
  return [
    item('user', [text('Morning! Which sessions ran overnight?')], yesterday),
    item(
      'assistant',
      [
        { type: 'reasoning', text: THINKING },
        call('list_sessions', { since: '2026-11-20' }, { output: ['release notes', 'migration', 'inbox triage'] }),
        call('read_session', { title: 'release notes' }, { output: { messages: 42, state: 'idle' } }),
        call('read_session', { title: 'migration' }, { output: { messages: 17, state: 'failed' } }),
        call('read_session', { title: 'inbox triage' }, { output: { messages: 230, state: 'idle' } }),
        call('clock', {}, { output: '2026-11-21T08:14:09Z' }),
        text('Three sessions ran: **release notes** and **inbox triage** finished; **migration** failed at 03:12 because the disk was full.'),
      ],
      yesterday + minute,
    ),
    item('user', [text('How does reading it back work?\nPlease show code and numbers.')], now - 14 * minute),
    item('assistant', [{ type: 'reasoning', text: THINKING }, text(ANSWER)], now - 13 * minute),
    item('user', [text('Run the migration again and delete the old draft.')], now - 4 * minute),
    item(
      'assistant',
      [
        call('run_migration', { name: '0007_offsets', dryRun: false }, { state: 'failed', error: 'No space left on device (os error 28)' }),
        text('The migration failed again: the disk is still full. Deleting the old draft would free 40 MB.'),
      ],
      now - 3 * minute,
    ),
  ];
}

export function waitingApproval(at: number): Item {
  return item(
    'assistant',
    [
      call(
        'delete_file',
        { path: 'notes/old-draft.md', reason: 'It was replaced by notes/release.md', recursive: false },
        { state: 'waiting', approval: { id: newId('approval'), approved: null, respondedBy: null } },
      ),
    ],
    at,
    { isComplete: false },
  );
}
