// SPDX-License-Identifier: Apache-2.0
// The official OpenAI client for Node, unmodified, against the real binary.
//   client_test.mjs BINARY MODEL   MODEL is a GGUF file or scripted:FILE (clients.script)
import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {once} from 'node:events';

import OpenAI from 'openai';

import {runTests, startServer} from './harness.mjs';

const [binary, model] = process.argv.slice(2);
const isScripted = model.startsWith('scripted:');

const user = (content) => [{role: 'user', content}];
const {child, url} = await startServer(binary, model);
const client = new OpenAI({baseURL: url + '/v1', apiKey: 'none', maxRetries: 0, timeout: 120_000});
const name = (await client.models.list()).data[0].id;
const chat = (content, more = {}) =>
  client.chat.completions.create({model: name, messages: user(content), max_tokens: 48, ...more});

async function textOf(stream) {
  let text = '';
  for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? '';
  return text;
}

async function metric(wanted) {
  const lines = (await (await fetch(url + '/metrics')).text()).split('\n');
  const line = lines.find((l) => l.startsWith(wanted + ' '));
  assert.ok(line, wanted + ' is not among the metrics');
  return Number(line.split(' ')[1]);
}

// The client's own loop: it runs what the model calls, until there is an answer.
async function runToolLoop(more) {
  const runner = client.chat.completions.runTools({
    model: name, messages: user('What is the temperature in Paris?'), max_tokens: 128, temperature: 0, ...more,
    tools: [{
      type: 'function',
      function: {
        name: 'temperature', description: 'The temperature in a city.',
        parameters: {type: 'object', properties: {city: {type: 'string'}}, required: ['city'], additionalProperties: false},
        function: ({city}) => `22 degrees in ${city}`, parse: JSON.parse,
      },
    }],
  }, {maxChatCompletions: 3});
  const calls = [];
  runner.on('functionToolCall', (call) => calls.push(call));
  const text = await runner.finalContent().catch((error) => error);
  if (!isScripted) return;
  assert.deepEqual(calls.map((call) => [call.name, JSON.parse(call.arguments)]), [['temperature', {city: 'Paris'}]]);
  assert.equal(text, 'It is 22 degrees in Paris.');
}

const tests = {
  async example() {
    const run = spawn(process.execPath, ['openai_client.mjs'], {
      env: {...process.env, BASE_URL: url + '/v1', MODEL: name},
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    run.stdout.on('data', (bytes) => (said += bytes));
    const [code] = await once(run, 'close');
    assert.equal(code, 0);
    assert.ok(said.trim());
    if (isScripted) assert.equal(said, 'Because of Rayleigh scattering.\n');
  },
  async models() {
    assert.equal((await client.models.retrieve(name)).id, name);
    await assert.rejects(client.models.retrieve('no-such-model'), OpenAI.NotFoundError);
  },
  async chat() {
    const answer = await chat('hello', {messages: [{role: 'developer', content: 'Be brief.'}, ...user('hello')]});
    assert.ok(answer.choices[0].message.content);
    assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
    if (isScripted) assert.equal(answer.choices[0].message.content, 'Hello from the script.');
  },
  async stream() {
    const settings = {temperature: 0};
    const whole = (await chat('Please greet me.', settings)).choices[0].message.content;
    assert.equal(await textOf(await chat('Please greet me.', {...settings, stream: true})), whole);
    let usage = null;
    const stream = await chat('hello', {stream: true, stream_options: {include_usage: true}});
    for await (const chunk of stream) usage = chunk.usage ?? usage;
    assert.ok(usage.completion_tokens > 0);
    const runner = client.chat.completions.stream({model: name, messages: user('hello'), max_tokens: 8});
    assert.ok(await runner.finalContent());
  },
  async stop() {
    const plain = (await chat('count', {temperature: 0})).choices[0].message.content;
    const half = Math.floor(plain.length / 2);
    const stop = isScripted ? 'STOP' : plain.slice(half, half + 3);
    const answer = await chat('count', {temperature: 0, stop: [stop]});
    assert.equal(answer.choices[0].message.content, plain.slice(0, plain.indexOf(stop)));
    assert.equal(answer.choices[0].finish_reason, 'stop');
  },
  async toolLoop() {
    await runToolLoop({});
  },
  async streamedToolLoop() {
    await runToolLoop({stream: true});
  },
  async seed() {
    const said = async (seed) => (await chat('Roll the dice.', {seed})).choices[0].message.content;
    assert.equal(await said(7), await said(7));
    assert.ok(new Set([await said(1), await said(2), await said(3)]).size > 1);
  },
  async choices() {
    const answer = await chat('Roll the dice.', {n: 3, seed: 20});
    assert.deepEqual(answer.choices.map((c) => c.index), [0, 1, 2]);
    const alone = await chat('Roll the dice.', {seed: 21});
    assert.equal(answer.choices[1].message.content, alone.choices[0].message.content);
  },
  async logprobs() {
    const answer = await chat('hello', {logprobs: true, top_logprobs: 2, max_tokens: 4});
    const records = answer.choices[0].logprobs.content;
    assert.equal(records.length, answer.usage.completion_tokens);
    assert.ok(records.every((r) => r.logprob <= 0 && r.top_logprobs.length === 2 && r.bytes.length > 0));
  },
  async jsonSchema() {
    const schema = {
      type: 'object',
      properties: {city: {type: 'string'}, degrees: {type: 'integer'}},
      required: ['city', 'degrees'],
      additionalProperties: false,
    };
    const answer = await chat('The weather in Paris is 21 degrees, as json please.', {
      max_tokens: 100,
      temperature: 0,
      response_format: {type: 'json_schema', json_schema: {name: 'city', strict: true, schema}},
    });
    const parsed = JSON.parse(answer.choices[0].message.content);
    assert.equal(typeof parsed.city, 'string');
    assert.ok(Number.isInteger(parsed.degrees));
    if (isScripted) assert.deepEqual(parsed, {city: 'Paris', degrees: 21});
  },
  async completions() {
    const answer = await client.completions.create({model: name, prompt: 'hello', max_tokens: 4, echo: true});
    assert.ok(answer.choices[0].text.startsWith('hello'));
  },
  async abort() {
    const before = await metric('openautoglm_disconnects_total');
    const stream = await chat(isScripted ? 'endless' : 'Write a very long story.', {
      stream: true, max_tokens: 1500, ignore_eos: true,
    });
    let chunks = 0;
    for await (const chunk of stream) {
      assert.ok(chunk.choices);
      if (++chunks === 4) break;
    }
    stream.controller.abort();
    const controller = new AbortController();
    const waiting = chat(isScripted ? 'endless' : 'Write a very long story.', {
      max_tokens: isScripted ? 1500 : 64, ignore_eos: true,
    });
    void waiting;
    const aborted = client.chat.completions.create(
      {model: name, messages: user(isScripted ? 'endless' : 'A long story.'), max_tokens: 1500},
      {signal: controller.signal});
    controller.abort();
    await assert.rejects(aborted, OpenAI.APIUserAbortError);
    await waiting;
    for (let i = 0; (await metric('openautoglm_requests_running')) !== 0; ++i) {
      assert.ok(i < 10_000, 'the engine still runs what the client has left');
    }
    assert.ok((await metric('openautoglm_disconnects_total')) > before);
  },
  async errors() {
    for (const more of [{temperature: 3}, {n: 0}, {frobnicate: 1}, {tool_choice: 'required'}]) {
      await assert.rejects(chat('x', more), (error) => {
        assert.ok(error instanceof OpenAI.BadRequestError);
        assert.equal(error.param, Object.keys(more)[0]);
        assert.equal(error.type, 'invalid_request_error');
        return true;
      });
    }
    await assert.rejects(chat('word '.repeat(5000)), {status: 400, code: 'context_length_exceeded'});
    await assert.rejects(chat('x', {model: 'no-such-model'}), {status: 404, code: 'model_not_found'});
  },
};

process.exit(await runTests(tests, child));
