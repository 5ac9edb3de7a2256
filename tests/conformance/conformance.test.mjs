// Upstream's conformance tests, against a server that wants a bearer token.
//
//   CONFORMANCE_URL=… CONFORMANCE_TOKEN=… npx vitest run
import { runConformanceTests } from '@durable-streams/server-conformance-tests'

const { CONFORMANCE_URL: baseUrl, CONFORMANCE_TOKEN: token } = process.env
const plain = globalThis.fetch

// The tests know no authentication: whatever they ask of this server carries the token.
globalThis.fetch = (input, init = {}) => {
  const url = input instanceof Request ? input.url : String(input)
  if (!token || !url.startsWith(baseUrl)) return plain(input, init)
  const headers = new Headers(init.headers ?? (input instanceof Request ? input.headers : undefined))
  if (!headers.has('authorization')) headers.set('authorization', `Bearer ${token}`)
  return plain(input, { ...init, headers })
}

runConformanceTests({ baseUrl })
