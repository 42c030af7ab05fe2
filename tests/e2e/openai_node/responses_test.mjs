// SPDX-License-Identifier: Apache-2.0
// The official OpenAI client for Node, unmodified, on /v1/responses: functions, an MCP server of the operator's,
// approvals, what is stored.
//   responses_test.mjs BINARY MODEL FOLDER   FOLDER holds weather_server.py; MODEL as for client_test.mjs
import assert from 'node:assert/strict';
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';

import OpenAI from 'openai';

import {runTests, startServer} from './harness.mjs';

const [binary, model, e2e] = process.argv.slice(2);
const isScripted = model.startsWith('scripted:');
const folder = mkdtempSync(path.join(tmpdir(), 'openautoglm_responses_'));
const notes = path.join(folder, 'notes');
writeFileSync(notes, '');
writeFileSync(path.join(folder, 'mcp.json'), JSON.stringify({
  mcpServers: {weather: {command: 'python3', args: [path.resolve(e2e, 'weather_server.py'), notes]}},
}));

const {child, url} = await startServer(binary, model, ['--mcp-config', path.join(folder, 'mcp.json')]);
const client = new OpenAI({baseURL: url + '/v1', apiKey: 'none', maxRetries: 0, timeout: 120_000});
const name = (await client.models.list()).data[0].id;
const respond = (input, more = {}) =>
  client.responses.create({model: name, input, temperature: 0, max_output_tokens: 128, ...more});

const func = {
  type: 'function', name: 'temperature', description: 'The temperature in a city.', strict: true,
  parameters: {type: 'object', properties: {city: {type: 'string'}}, required: ['city'], additionalProperties: false},
};
const weather = {type: 'mcp', server_label: 'weather'};

const tests = {
  async text() {
    const response = await respond('hello', {instructions: 'Be brief.', store: false});
    assert.ok(['completed', 'incomplete'].includes(response.status));
    assert.ok(response.output_text);
    if (isScripted) assert.equal(response.output_text, 'Hello from the script.');
  },
  async streamEqualsWhole() {
    const whole = await respond('Please greet me.', {store: false});
    let text = '';
    let last;
    let count = 0;
    for await (const event of await respond('Please greet me.', {store: false, stream: true})) {
      assert.equal(event.sequence_number, count++);
      if (event.type === 'response.output_text.delta') text += event.delta;
      last = event;
    }
    assert.equal(text, whole.output_text);
    assert.equal(last.type, 'response.' + whole.status);
  },
  async functionLoop() {
    const settings = {tools: [func], parallel_tool_calls: false};
    const question = 'What is the temperature in Paris?';
    const first = await respond(question, {...settings, tool_choice: 'required'});
    const call = first.output.at(-1);
    assert.equal(call.type, 'function_call');
    assert.deepEqual(Object.keys(JSON.parse(call.arguments)), ['city']);
    const result = {type: 'function_call_output', call_id: call.call_id, output: '22 degrees'};
    const second = await respond([result], {...settings, previous_response_id: first.id});
    const again = await respond([{role: 'user', content: question}, ...first.output, result],
      {...settings, store: false});
    assert.equal(second.output_text, again.output_text);
    if (isScripted) assert.equal(second.output_text, 'It is 22 degrees in Paris.');
  },
  async streamedFunctionCall() {
    const settings = {tools: [func], tool_choice: {type: 'function', name: 'temperature'}, store: false};
    const whole = (await respond('What is the temperature in Paris?', settings)).output.at(-1);
    const stream = client.responses.stream({
      model: name, input: 'What is the temperature in Paris?', temperature: 0, max_output_tokens: 128, ...settings,
    });
    let deltas = '';
    for await (const event of stream) {
      if (event.type === 'response.function_call_arguments.delta') deltas += event.delta;
    }
    assert.equal(deltas, whole.arguments);
    const {output} = await stream.finalResponse();
    assert.equal(output.at(-1).arguments, whole.arguments);
    // The loop goes on as a stream: what came is sent back with the result.
    const result = {type: 'function_call_output', call_id: output.at(-1).call_id, output: '22 degrees'};
    const items = [{role: 'user', content: 'What is the temperature in Paris?'}, ...output, result];
    let last;
    for await (const event of await respond(items, {...settings, tool_choice: 'none', stream: true})) last = event;
    assert.equal(last.type, 'response.' + last.response.status);
    if (isScripted) assert.equal(last.response.output[0].content[0].text, 'It is 22 degrees in Paris.');
  },
  async mcpLoop() {
    const settings = {
      tools: [weather], tool_choice: {...weather, name: 'temperature'}, max_tool_calls: 1, max_output_tokens: 300,
    };
    const whole = await respond('Ask the server for the weather in Paris.', settings);
    assert.deepEqual(whole.output.slice(0, 2).map((item) => item.type), ['mcp_list_tools', 'mcp_call']);
    assert.equal(whole.output[1].output, '22 degrees in ' + JSON.parse(whole.output[1].arguments).city);
    const kinds = new Set();
    let last;
    for await (const event of await respond('Ask the server for the weather in Paris.', {...settings, stream: true})) {
      kinds.add(event.type);
      last = event;
    }
    for (const kind of ['mcp_list_tools.completed', 'mcp_call.in_progress', 'mcp_call_arguments.done', 'mcp_call.completed']) {
      assert.ok(kinds.has('response.' + kind), kind);
    }
    assert.equal(last.response.output[1].output, whole.output[1].output);
    if (isScripted) assert.equal(whole.output_text, 'It is 22 degrees in Paris.');
  },
  async approval() {
    const settings = {tools: [weather], max_output_tokens: 300};
    const asked = await respond('Set the alarm.', {...settings, tool_choice: {...weather, name: 'alarm'}});
    const question = asked.output.at(-1);
    assert.equal(question.type, 'mcp_approval_request');
    assert.equal(readFileSync(notes, 'utf8'), '');
    const answer = {type: 'mcp_approval_response', approval_request_id: question.id, approve: true};
    const done = await respond([answer], {...settings, previous_response_id: asked.id});
    assert.equal(done.output[0].output, 'the alarm is set');
    assert.equal(readFileSync(notes, 'utf8'), 'alarm\n');
  },
  async stored() {
    const response = await respond('hello');
    assert.equal((await client.responses.retrieve(response.id)).output_text, response.output_text);
    assert.equal((await client.responses.inputItems.list(response.id)).data[0].content[0].text, 'hello');
    await client.responses.delete(response.id);
    await assert.rejects(client.responses.retrieve(response.id), OpenAI.NotFoundError);
  },
  async cancel() {
    let id;
    let last;
    const stream = await respond('Wait for it.',
      {stream: true, tools: [weather], tool_choice: {...weather, name: 'wait'}});
    for await (const event of stream) {
      if (event.type === 'response.created') id = event.response.id;
      if (event.type === 'response.mcp_call_arguments.done') {
        assert.equal((await client.responses.cancel(id)).status, 'cancelled');
      }
      last = event;
    }
    assert.equal(last.response.status, 'cancelled');
    assert.equal(last.response.output.at(-1).status, 'failed');
  },
  async refusals() {
    const cases = [
      [{background: true}, 'background'],
      [{tools: [{type: 'web_search'}]}, 'tools[0].type'],
      [{tools: [{...weather, server_url: 'http://127.0.0.1/'}]}, 'tools[0].server_url'],
    ];
    for (const [more, param] of cases) {
      await assert.rejects(respond('x', more), (error) => {
        assert.ok(error instanceof OpenAI.BadRequestError);
        assert.equal(error.param, param);
        return true;
      });
    }
  },
};

const status = await runTests(tests, child);
rmSync(folder, {recursive: true});
process.exit(status);
