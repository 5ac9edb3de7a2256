// What the published readers of two dialects make of chunks, to lay beside ours.
//
//   node dialects.mjs       reads {"aiSdk": [[chunk]], "agUi": [[event]], "usage": [usage]} from standard input and prints
//                           {"aiSdk": [parts], "agUi": [{messages, state, interrupts}], "usage": [tokens]}
import { readUIMessageStream } from 'ai'
import { AbstractAgent, aggregateTokenUsage, defaultApplyEvents, transformChunks } from '@ag-ui/client'
import { from } from 'rxjs'

async function aiSdk(chunks) {
  const stream = new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk)
      controller.close()
    },
  })
  let parts = []
  for await (const message of readUIMessageStream({ stream })) parts = message.parts
  return parts
}

async function agUi(events) {
  class Agent extends AbstractAgent {
    run() {
      return from(events)
    }
  }
  const agent = new Agent()
  const input = { threadId: 't', runId: 'r', messages: [], tools: [], context: [], state: {} }
  let messages = []
  let state = {}
  const applied = defaultApplyEvents(input, from(events).pipe(transformChunks()), agent, [])
  await new Promise((complete, error) => {
    const next = (mutation) => {
      messages = mutation.messages ?? messages
      state = mutation.state ?? state
    }
    applied.subscribe({ next, error, complete })
  })
  return { messages, state, interrupts: agent.pendingInterrupts ?? [] }
}

let text = ''
for await (const piece of process.stdin) text += piece
const asked = JSON.parse(text)
const answer = { aiSdk: [], agUi: [], usage: [] }
for (const chunks of asked.aiSdk ?? []) answer.aiSdk.push(await aiSdk(chunks))
for (const events of asked.agUi ?? []) answer.agUi.push(await agUi(events))
for (const usage of asked.usage ?? []) answer.usage.push(aggregateTokenUsage(usage))
process.stdout.write(JSON.stringify(answer))
