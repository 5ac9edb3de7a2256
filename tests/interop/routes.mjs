// Drives every route of a session server as upstream's clients do, while upstream's StreamDB follows the session live,
// and writes to the session's stream with upstream's client. Prints the rows that StreamDB shows at the end.
//
//   node routes.mjs BASE-URL
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { DurableStream, IdempotentProducer } from '@durable-streams/client'
import { createStateSchema } from '@durable-streams/state'
import { createStreamDB } from '@durable-streams/state/db'

const base = process.argv[2].replace(/\/$/, '')
const id = randomUUID()
const session = `/v1/sessions/${id}`
const url = `${base}/v1/stream/sessions/${id}`
const DEADLINE = 20_000

/** One request; gives its status and body. */
async function call(method, path, body, headers = {}) {
  const init = { method, headers }
  if (body !== undefined) {
    init.body = typeof body === 'string' ? body : JSON.stringify(body)
    init.headers = { 'Content-Type': 'application/json', 'X-Actor-Id': 'ana', ...headers }
  }
  const answer = await fetch(base + path, init)
  const text = await answer.text()
  return { status: answer.status, body: text === '' ? undefined : JSON.parse(text) }
}

async function expect(status, method, path, body, headers) {
  const answer = await call(method, path, body, headers)
  assert.equal(answer.status, status, `${method} ${path}: ${JSON.stringify(answer.body)}`)
  return answer.body
}

/** The webhook agent: asks for an approval and a result of the client's, then says what it was told. */
const asked = []
const agent = createServer(async (request, response) => {
  let text = ''
  for await (const piece of request) text += piece
  const body = JSON.parse(text)
  asked.push(body)
  response.writeHead(200, { 'Content-Type': 'text/event-stream' })
  const send = (chunk) => response.write(`data: ${JSON.stringify(chunk)}\n\n`)
  const run = { threadId: body.threadId, runId: body.runId }
  send({ type: 'RUN_STARTED', ...run })
  const last = body.messages.at(-1)
  if (body.resume === undefined && last.content === 'wait') {
    send({ type: 'TEXT_MESSAGE_CONTENT', messageId: 'x', delta: 'I wait.' })
    return // until it is stopped
  }
  if (body.resume === undefined && last.content === 'ask') {
    for (const call of ['look', 'remove', 'choose']) {
      send({ type: 'TOOL_CALL_START', toolCallId: `${call}-1`, toolCallName: call })
      send({ type: 'TOOL_CALL_ARGS', toolCallId: `${call}-1`, delta: '{}' })
      send({ type: 'TOOL_CALL_END', toolCallId: `${call}-1` })
    }
    const client = (toolCallId) => ({ id: `i-${toolCallId}`, reason: 'client_tool_input', toolCallId })
    const interrupts = [
      client('look-1'),
      client('choose-1'),
      { id: 'may-i', reason: 'approval_required', toolCallId: 'remove-1', metadata: { kind: 'approval' } },
    ]
    send({ type: 'RUN_FINISHED', ...run, outcome: { type: 'interrupt', interrupts } })
  } else {
    send({ type: 'TEXT_MESSAGE_START', messageId: 'x', role: 'assistant' })
    send({ type: 'TEXT_MESSAGE_CONTENT', messageId: 'x', delta: `heard ${body.messages.length}` })
    send({ type: 'TEXT_MESSAGE_END', messageId: 'x' })
    send({ type: 'RUN_FINISHED', ...run, finishReason: 'stop' })
  }
  response.end()
})
await new Promise((resolve) => agent.listen(0, '127.0.0.1', resolve))
const endpoint = `http://127.0.0.1:${agent.address().port}/agent`

/** A schema that lets every object pass: what is compared is the rows, not their validation. */
const anyObject = { '~standard': { version: 1, vendor: 'threadkeep-tests', validate: (value) => ({ value }) } }

/** Upstream's database over the session, live as its clients have it: catch-up, then long polls. */
async function open(streamUrl, live) {
  const db = createStreamDB({
    streamOptions: { url: streamUrl, contentType: 'application/json' },
    live,
    state: createStateSchema({
      chunks: { schema: anyObject, type: 'chunk', primaryKey: 'id' },
      presence: { schema: anyObject, type: 'presence', primaryKey: 'id' },
      agents: { schema: anyObject, type: 'agent', primaryKey: 'agentId' },
    }),
  })
  await db.preload()
  const rows = (name) => Array.from(db.collections[name].values())
  return { db, rows, chunks: () => rows('chunks').map((row) => ({ ...row, inner: JSON.parse(row.chunk) })) }
}

// What is there without a session.
for (const path of ['/', '/health', '/health/ready', '/health/live', '/healthz', '/readyz', '/openapi.json']) {
  await expect(200, 'GET', path)
}
assert.equal((await fetch(`${base}/metrics`)).status, 200)
await expect(404, 'GET', session)
assert.deepEqual(await expect(200, 'GET', `${session}/agents`), { agents: [] })
await expect(204, 'POST', `${session}/stop`, { messageId: null })
await expect(204, 'DELETE', session)

const described = { sessionId: id, streamUrl: `/v1/stream/sessions/${id}` }
assert.deepEqual(await expect(200, 'PUT', session), described)
assert.deepEqual(await expect(200, 'GET', session), described)
const view = await open(url, true)

async function until(what, found) {
  const end = Date.now() + DEADLINE
  for (;;) {
    const value = found()
    if (value) return value
    assert(Date.now() < end, `not seen in StreamDB: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Upstream's rules: a message is complete when it is whole or a chunk of it is terminal; else it is being written. */
const TERMINAL = new Set(['done', 'stop', 'error', 'message-end', 'RUN_FINISHED', 'RUN_ERROR', 'whole-message'])
function unfinished(chunks) {
  const all = new Set(chunks.map((row) => row.messageId))
  for (const row of chunks) if (TERMINAL.has(row.inner.type)) all.delete(row.messageId)
  return [...all]
}
const nothingIsOpen = (after) => assert.deepEqual(unfinished(view.chunks()), [], `open in upstream's eyes after ${after}`)
const kinds = (kind) => view.chunks().filter((row) => row.inner.type === kind)

// Presence.
const here = { actorId: 'ana', deviceId: 'laptop', name: 'Ana' }
const online = await expect(200, 'POST', `${session}/login`, here)
assert.deepEqual(online, { success: true, actorId: 'ana', deviceId: 'laptop', status: 'online' })
const presence = (status) => view.rows('presence').find((row) => row.actorId === 'ana' && row.status === status)
await until('the login', () => presence('online'))

// Agents.
const spec = { id: 'helper', name: 'Helper', endpoint, headers: { 'X-Key': 'hush' }, triggers: 'user-messages' }
assert.deepEqual(await expect(200, 'POST', `${session}/agents`, { agents: [spec] }), { success: true })
await until('the agent', () => view.rows('agents').find((row) => row.agentId === 'helper'))
const listed = await expect(200, 'GET', `${session}/agents`)
assert.equal(listed.agents[0].id, 'helper')
assert(!JSON.stringify(listed).includes('hush'))

// A message, as the client waits for it: by its txid.
const sent = { messageId: randomUUID(), content: 'hello', role: 'user', actorType: 'user', txid: randomUUID() }
const echo = view.db.utils.awaitTxId(sent.txid, DEADLINE)
assert.deepEqual(await expect(200, 'POST', `${session}/messages`, sent), { messageId: sent.messageId })
await echo
await until('the answer', () => kinds('RUN_FINISHED').length === 1)
nothingIsOpen('a message')
await expect(200, 'POST', `${session}/regenerate`, { fromMessageId: sent.messageId, content: 'hello again' })
await until('the second answer', () => kinds('RUN_FINISHED').length === 2)
await expect(200, 'POST', `${session}/regenerate`, { fromMessageId: sent.messageId })
await until('the third answer', () => kinds('RUN_FINISHED').length === 3)
nothingIsOpen('regenerating')

// A stop.
await expect(200, 'POST', `${session}/messages`, { content: 'wait' })
const waiting = await until('a word', () => kinds('TEXT_MESSAGE_CONTENT').find((row) => row.inner.delta === 'I wait.'))
assert.deepEqual(unfinished(view.chunks()), [waiting.messageId])
await expect(204, 'POST', `${session}/stop`, { messageId: waiting.messageId })
await until('the stop', () => kinds('stop').some((row) => row.messageId === waiting.messageId))
nothingIsOpen('a stop')

// An approval, a tool's result and an answer to a question.
await expect(200, 'POST', `${session}/messages`, { content: 'ask' })
await until('the questions', () => view.chunks().some((row) => row.inner.outcome?.type === 'interrupt'))
const told = asked.length
const approve = { approved: true, txid: randomUUID() }
const approved = view.db.utils.awaitTxId(approve.txid, DEADLINE)
await expect(204, 'POST', `${session}/approvals/may-i`, approve)
await approved
await expect(204, 'POST', `${session}/tool-results`, { toolCallId: 'look-1', output: { seen: 3 }, txid: randomUUID() })
assert.equal(asked.length, told, 'one answer is missing')
await expect(204, 'POST', `${session}/answers/choose-1`, { answers: { colour: 'blue' } })
await until('the end', () => kinds('RUN_FINISHED').length === 5)
nothingIsOpen('answers')
assert.deepEqual(asked.at(-1).resume.map((answer) => answer.interruptId).sort(), ['i-choose-1', 'i-look-1', 'may-i'])

// Chunks of an agent that runs elsewhere.
const far = randomUUID()
const chunk = (inner) => ({ messageId: far, actorId: 'far', role: 'assistant', chunk: inner })
await expect(200, 'POST', `${session}/chunks`, chunk({ type: 'TEXT_MESSAGE_CONTENT', messageId: far, delta: 'far ' }))
const rest = [{ type: 'TEXT_MESSAGE_CONTENT', messageId: far, delta: 'away' }, { type: 'RUN_FINISHED', threadId: id, runId: 'r' }]
await expect(200, 'POST', `${session}/chunks/batch`, { chunks: rest.map(chunk) })
await expect(200, 'POST', `${session}/generations/finish`, { messageId: far })
await until('the chunks', () => view.chunks().filter((row) => row.messageId === far).length === 3)

// A title and a fork: signals, which upstream must not take for answers that are being written.
await expect(200, 'PATCH', session, { title: 'Plans' })
await until('the title', () => kinds('config').some((row) => row.inner.title === 'Plans'))
const forked = await expect(201, 'POST', `${session}/fork`, { atMessageId: sent.messageId, newSessionId: null })
assert.equal(forked.offset, '-1')
const forks = await expect(200, 'GET', `${session}/forks`)
assert.deepEqual(forks, { forks: [{ sessionId: forked.sessionId, messageId: sent.messageId }] })
nothingIsOpen('a title and a fork')
const fork = await open(`${base}/v1/stream/sessions/${forked.sessionId}`, false)
const whole = fork.chunks().filter((row) => row.inner.type === 'whole-message')
assert.deepEqual(whole.map((row) => row.messageId), [sent.messageId])
assert.deepEqual(unfinished(fork.chunks()), [])
assert.deepEqual(fork.rows('agents').map((row) => row.agentId), ['helper'])
const list = await expect(200, 'GET', '/v1/sessions')
assert.deepEqual(list.sessions.map((row) => row.sessionId).sort(), [id, forked.sessionId].sort())

// The other direction: what upstream's client writes to the stream is part of the session.
const stream = new DurableStream({ url, contentType: 'application/json' })
const row = (messageId, actorId, role, seq, inner) => JSON.stringify({
  type: 'chunk',
  key: `${messageId}:${seq}`,
  value: { messageId, actorId, role, seq, chunk: JSON.stringify(inner), createdAt: new Date().toISOString() },
  headers: { operation: 'insert' },
})
const note = randomUUID()
const parts = [{ type: 'text', content: 'from upstream' }]
await stream.append(row(note, 'ben', 'user', 0, { type: 'whole-message', message: { id: note, role: 'user', parts } }))
const producer = new IdempotentProducer(stream, 'upstream-agent', { epoch: 0 })
const theirs = randomUUID()
const question = { toolCallId: 'their-call', toolName: 'act', input: {}, approval: { id: 'their-approval', needsApproval: true } }
for (const [seq, inner] of [
  { type: 'RUN_STARTED', threadId: id, runId: 'theirs' },
  { type: 'TOOL_CALL_START', toolCallId: 'their-call', toolCallName: 'act' },
  { type: 'CUSTOM', name: 'approval-requested', value: question },
  { type: 'RUN_FINISHED', threadId: id, runId: 'theirs', finishReason: 'tool_calls' },
].entries()) {
  producer.append(row(theirs, 'helper', 'assistant', seq, inner))
}
await producer.flush()
await until('their rows', () => view.chunks().filter((chunk) => chunk.messageId === theirs).length === 4)
await expect(204, 'POST', `${session}/approvals/their-approval`, { approved: false })
const answer = await until('the answer in their message', () => kinds('approval-response').find((row) => row.messageId === theirs))
assert.equal(answer.seq, 4, 'numbers go on')
const goesOn = () => asked.at(-1).resume?.some((answer) => answer.interruptId === 'their-approval')
await until('their run goes on', () => goesOn() && unfinished(view.chunks()).length === 0)
assert(asked.at(-1).messages.some((message) => message.content === 'from upstream'), 'it is told to agents')
const head = await stream.head()
assert(head.exists && head.offset && head.contentType === 'application/json')

// What upstream does not have: tools, and agents of the server's computer. Nobody offers any here.
assert.deepEqual(await expect(200, 'GET', `${session}/tools`), { servers: [] })
await expect(404, 'PUT', `${session}/tools/none`, { on: false })
await expect(404, 'PUT', `${session}/tool-rules`, { server: 'none', tool: 'x', rule: 'never' })
assert.deepEqual(await expect(200, 'GET', '/v1/tool-rules'), { rules: [] })
await expect(404, 'DELETE', '/v1/tool-rules/1')
await expect(404, 'POST', '/v1/tool-servers/test', { name: 'none' })
assert.deepEqual((await expect(200, 'POST', '/mcp', { jsonrpc: '2.0', id: 1, method: 'ping' })).result, {})
assert.deepEqual(await expect(200, 'GET', `${session}/folder`), { fixed: false })
await expect(400, 'PUT', `${session}/folder`, { folder: 'relative' })
assert.deepEqual(await expect(200, 'GET', '/v1/folders'), { folders: [] })
await expect(204, 'PUT', '/v1/local-agents/mine', { command: 'true' })
assert.equal((await expect(200, 'GET', '/v1/local-agents')).agents.length, 1)
await expect(204, 'DELETE', '/v1/local-agents/mine')
assert((await expect(200, 'GET', '/v1/known-agents')).agents.length > 0)
await expect(404, 'POST', `${session}/agents/helper/options`, { optionId: 'mode', value: 'x' })
await expect(400, 'POST', `${session}/agents/helper/bridge/work`, {})
await expect(400, 'POST', `${session}/agents/helper/bridge/output`, {})

// Leaving, as a closing page does: a beacon.
await expect(204, 'DELETE', `${session}/agents/helper`)
await until('no agent', () => view.rows('agents').length === 0)
const beacon = JSON.stringify({ actorId: 'ana', deviceId: 'laptop' })
await expect(200, 'POST', `${session}/logout`, beacon, { 'Content-Type': 'text/plain;charset=UTF-8' })
await until('the logout', () => presence('offline'))
assert.equal(presence('offline').name, 'Ana')
nothingIsOpen('all of it')

const rows = { chunks: view.rows('chunks'), presence: view.rows('presence'), agents: view.rows('agents') }

// Clearing and deleting, with the reader still there.
const cleared = await expect(200, 'POST', `${session}/reset`, { clearPresence: true })
assert.equal(cleared.sessionId, id)
await until('nothing', () => view.rows('chunks').length === 0 && view.rows('presence').length === 0)
await expect(200, 'POST', `${session}/messages`, { content: 'a new beginning' })
await until('a message after the reset', () => view.rows('chunks').length === 1)
const again = await open(url, false)
assert.equal(again.rows('chunks').length, 1, 'a reload shows the same')
view.db.close()
await expect(204, 'DELETE', `/v1/sessions/${forked.sessionId}`)
await expect(204, 'DELETE', session)
await expect(404, 'GET', session)
assert.equal((await fetch(url)).status, 404)

// A stream that upstream's client makes is a session, and goes when the client deletes it.
const own = randomUUID()
const made = await DurableStream.create({ url: `${base}/v1/stream/sessions/${own}`, contentType: 'application/json' })
await made.append(row(note, 'ben', 'user', 0, { type: 'whole-message', message: { id: note, role: 'user', parts } }))
assert.deepEqual(await expect(200, 'GET', `/v1/sessions/${own}`), { sessionId: own, streamUrl: `/v1/stream/sessions/${own}` })
await expect(200, 'POST', `/v1/sessions/${own}/messages`, { messageId: note, content: 'a retry' })
const alone = await open(made.url, false)
assert.equal(alone.rows('chunks').length, 1, 'the message is known')
await made.delete()
await expect(404, 'GET', `/v1/sessions/${own}`)

// A pipe takes a part at a time: the process ends when all of it is written.
process.stdout.write(JSON.stringify({ id, rows }), () => process.exit(0))
