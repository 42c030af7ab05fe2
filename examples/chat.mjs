// SPDX-License-Identifier: Apache-2.0
// A streamed answer with nothing but Node.
const baseUrl = process.env.BASE_URL ?? 'http://127.0.0.1:8080/v1';
const answer = await fetch(`${baseUrl}/chat/completions`, {
  method: 'POST',
  headers: {'Content-Type': 'application/json'},
  body: JSON.stringify({
    model: process.env.MODEL ?? 'smollm2',
    messages: [{role: 'user', content: 'Why is the sky blue?'}],
    max_tokens: 40,
    stream: true,
  }),
});
if (!answer.ok) throw new Error(await answer.text());
let held = '';
for await (const bytes of answer.body.pipeThrough(new TextDecoderStream())) {
  const lines = (held + bytes).split('\n');
  held = lines.pop();
  for (const line of lines) {
    if (!line.startsWith('data: ') || line === 'data: [DONE]') continue;
    for (const choice of JSON.parse(line.slice(6)).choices) process.stdout.write(choice.delta.content ?? '');
  }
}
console.log();
