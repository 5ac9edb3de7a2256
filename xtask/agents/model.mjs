// A model server for agents, without a model: chat completions on a loopback port, which it prints.
// Words of the last message say what it does: RUN calls the shell, WRITE a file, SLOW takes half a minute.
// It ends when its input does.
import http from 'node:http';

const text = (content) =>
  typeof content === 'string'
    ? content
    : (content ?? []).map((part) => part.text ?? '').join(' ');

/** What is answered: words with the time between them, or a call of one of the tools that are offered. */
function answer(asked, called, tools) {
  const find = (...ways) => ways.map((way) => tools.find((name) => way.test(name))).find(Boolean);
  if (!called && /\bRUN\b/.test(asked)) {
    const name = find(/^(bash|run_shell_command)$/i, /shell|bash|exec/i);
    const command = 'echo it-ran && touch made-by-the-agent.txt';
    if (name) return { name, input: { command, description: 'run it', is_background: false } };
  }
  if (/\bSLOW\b/.test(asked)) {
    return { words: Array.from({ length: 300 }, (_, n) => `word${n} `), wait: 100 };
  }
  return { words: called ? ['It', ' is', ' done.'] : ['Hello', ' from', ' the model.'], wait: 5 };
}

const server = http.createServer(async (request, response) => {
  let body = '';
  for await (const piece of request) body += piece;
  const json = (status, value) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(value));
  };
  if (request.url.endsWith('/models')) {
    return json(200, { object: 'list', data: [{ id: 'tiny', object: 'model' }] });
  }
  if (!request.url.split('?')[0].endsWith('/chat/completions')) {
    return json(404, { error: { message: 'there is no such route' } });
  }
  const { messages = [], tools = [], stream, model } = JSON.parse(body);
  const last = messages.findLastIndex((message) => message.role === 'user');
  const called = messages.slice(last + 1).some((message) => message.role === 'tool');
  const says = answer(text(messages[last]?.content), called, tools.map((tool) => tool.function?.name));
  const usage = { prompt_tokens: 100, completion_tokens: 10, total_tokens: 110 };
  const id = `call_${Date.now()}`;
  const call = says.name && { id, type: 'function', function: { name: says.name, arguments: JSON.stringify(says.input) } };
  const reason = call ? 'tool_calls' : 'stop';
  if (!stream) {
    const content = call ? null : says.words.slice(0, 3).join('');
    const message = { role: 'assistant', content, ...(call && { tool_calls: [call] }) };
    return json(200, { id, object: 'chat.completion', model, choices: [{ index: 0, message, finish_reason: reason }], usage });
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const event = (delta, finish_reason = null) =>
    response.write(
      `data: ${JSON.stringify({ id, object: 'chat.completion.chunk', created: 1, model, choices: [{ index: 0, delta, finish_reason }] })}\n\n`,
    );
  event({ role: 'assistant', content: '' });
  if (call) event({ tool_calls: [{ index: 0, ...call }] });
  for (const word of says.words ?? []) {
    if (response.destroyed) return;
    event({ content: word });
    await new Promise((done) => setTimeout(done, says.wait));
  }
  event({}, reason);
  response.write(`data: ${JSON.stringify({ id, object: 'chat.completion.chunk', created: 1, model, choices: [], usage })}\n\n`);
  response.end('data: [DONE]\n\n');
});
server.listen(0, '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${server.address().port}/v1`));
process.stdin.resume().on('end', () => process.exit(0));
