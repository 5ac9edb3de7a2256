// What upstream's published packages need for a session's log, to lay beside ours (`cargo xtask bench engine`).
//
//   node engine.mjs URL     reads the log with the npm StreamDB (preload), folds each message with a StreamProcessor of
//                           its own, as upstream's sessions do, and prints the times and the memory as JSON
const [url] = process.argv.slice(2)

const { createStateSchema } = await import('@durable-streams/state')
const { createStreamDB } = await import('@durable-streams/state/db')
const { StreamProcessor } = await import('@tanstack/ai')

const anyObject = { '~standard': { version: 1, vendor: 'threadkeep-tests', validate: (value) => ({ value }) } }

const before = process.cpuUsage()
const started = performance.now()
const db = createStreamDB({
  streamOptions: { url, contentType: 'application/json' },
  live: false,
  state: createStateSchema({
    chunks: { schema: anyObject, type: 'chunk', primaryKey: 'id' },
    presence: { schema: anyObject, type: 'presence', primaryKey: 'id' },
    agents: { schema: anyObject, type: 'agent', primaryKey: 'agentId' },
  }),
})
await db.preload()
const loaded = performance.now()

const messages = new Map()
for (const row of db.collections.chunks.values()) {
  const rows = messages.get(row.messageId)
  if (rows === undefined) messages.set(row.messageId, [row])
  else rows.push(row)
}
let parts = 0
for (const rows of messages.values()) {
  rows.sort((a, b) => a.seq - b.seq)
  const chunks = rows.map((row) => JSON.parse(row.chunk))
  if (chunks[0].type === 'user-message') {
    parts += chunks[0].message.parts.length
    continue
  }
  const processor = new StreamProcessor()
  processor.startAssistantMessage()
  for (const chunk of chunks) processor.processChunk(chunk)
  processor.finalizeStream()
  parts += processor.getMessages().at(-1)?.parts.length ?? 0
}
const folded = performance.now()
const used = process.cpuUsage(before)

process.stdout.write(
  JSON.stringify({
    preloadMs: loaded - started,
    wallMs: folded - started,
    processorMs: (used.user + used.system) / 1000,
    residentMb: process.memoryUsage().rss / 1e6,
    messages: messages.size,
    parts,
  }),
)
process.exit(0)
