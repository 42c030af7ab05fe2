// SPDX-License-Identifier: Apache-2.0
// Runs the client scenarios of the MCP conformance suite that our client is to pass, and names the others with the
// reason. A scenario that is in neither list fails the test: a new version of the suite must be looked at. The suite has
// none for cancellation; in its place stand McpClientTest.ACancelledCallIsSaidSo and McpHttpTest.ACancelClosesTheRequest.
//   conformance.mjs NODE SUITE PROBE FOLDER
import {spawnSync} from 'node:child_process';

const [node, suite, probe, folder] = process.argv.slice(2);
const wanted = ['initialize', 'tools_call', 'sse-retry'];
const others = [
  [/^elicitation-/, 'elicitation is not offered: nobody answers for the user of a run'],
  [/^auth\//, 'OAuth is not offered: keys come from the headers of the configuration'],
];

const list = spawnSync(node, [suite, 'list'], {encoding: 'utf8'}).stdout;
const clients = list.slice(list.indexOf('Client scenarios')).matchAll(/^ +- (\S+)/gm);
const scenarios = [...clients].map((match) => match[1]);

let passed = 0;
let failed = 0;
for (const name of wanted) {
  const run = spawnSync(node, [suite, 'client', '--command', `${probe} conformance`, '--scenario', name, '-o', folder, '--timeout', '240000'],
    {encoding: 'utf8', cwd: folder, timeout: 300_000});
  const isGood = run.status === 0 && scenarios.includes(name);
  console.log(`${isGood ? 'passed' : 'FAILED'}  ${name}`);
  if (!isGood) console.log(run.stdout + run.stderr);
  isGood ? ++passed : ++failed;
}
for (const name of scenarios.filter((scenario) => !wanted.includes(scenario))) {
  const reason = others.find(([pattern]) => pattern.test(name))?.[1];
  console.log(`${reason ? 'left out' : 'FAILED'}  ${name}: ${reason ?? 'unknown to this test'}`);
  if (!reason) ++failed;
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
