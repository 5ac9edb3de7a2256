// What the tests do with upstream's published packages, so that both worlds are the real ones.
//
//   node upstream.mjs serve             the npm stream server on a free loopback port; prints its URL, ends with stdin
//   node upstream.mjs write URL FILE    creates the stream and appends the items of FILE with the npm client, one by one
//   node upstream.mjs read URL          reads a session with the npm StreamDB and prints its rows as JSON
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'

const [command, ...args] = process.argv.slice(2)

/** A loopback port that is free now; the npm server does not take 0 for one. */
function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address()
      probe.close(() => resolve(port))
    })
  })
}

async function serve() {
  const { DurableStreamTestServer } = await import('@durable-streams/server')
  const server = new DurableStreamTestServer({ port: await freePort(), host: '127.0.0.1' })
  console.log(await server.start())
  process.stdin.resume()
  process.stdin.once('end', async () => {
    await server.stop()
    process.exit(0)
  })
}

async function write(url, file) {
  const { DurableStream } = await import('@durable-streams/client')
  const stream = await DurableStream.create({ url, contentType: 'application/json' })
  for (const item of JSON.parse(await readFile(file, 'utf8'))) {
    await stream.append(JSON.stringify(item))
  }
}

/** A schema that lets every object pass: what is compared is the rows, not their validation. */
const anyObject = { '~standard': { version: 1, vendor: 'threadkeep-tests', validate: (value) => ({ value }) } }

async function read(url) {
  const { createStateSchema } = await import('@durable-streams/state')
  const { createStreamDB } = await import('@durable-streams/state/db')
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
  const rows = (collection) => Array.from(collection.values())
  const { chunks, presence, agents } = db.collections
  const read = JSON.stringify({ chunks: rows(chunks), presence: rows(presence), agents: rows(agents) })
  await db.close?.()
  // A pipe takes a part at a time: the process ends when all of it is written.
  process.stdout.write(read, () => process.exit(0))
}

await { serve, write, read }[command](...args)
