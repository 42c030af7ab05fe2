// SPDX-License-Identifier: Apache-2.0
// The official client, unmodified: npm install openai.
import OpenAI from 'openai';

const client = new OpenAI({
  baseURL: process.env.BASE_URL ?? 'http://127.0.0.1:8080/v1',
  apiKey: process.env.API_KEY ?? 'none',
});
const stream = await client.chat.completions.create({
  model: process.env.MODEL ?? 'smollm2',
  messages: [{role: 'user', content: 'Why is the sky blue?'}],
  max_tokens: 40,
  stream: true,
});
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta.content ?? '');
console.log();
