// SPDX-License-Identifier: Apache-2.0
// What the tests of this folder share: the real server on a free port, and tests run one after another.
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import readline from 'node:readline';

/** Starts `binary serve model` with a short context and `more` arguments; {child, url} once it listens. */
export async function startServer(binary, model, more = []) {
  const child = spawn(binary, ['serve', model, '--port', '0', '--context-length', '2048', ...more], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  for await (const line of readline.createInterface({input: child.stdout})) {
    if (line.startsWith('listening on ')) {
      child.stdout.resume();
      return {child, url: line.split(' ').at(-1)};
    }
  }
  throw new Error('the server did not start');
}

/** Runs all tests, stops the server. The exit status: 0 when every test passed and the server ended well. */
export async function runTests(tests, child) {
  let failed = 0;
  for (const [title, test] of Object.entries(tests)) {
    try {
      await test();
      console.log('passed  ' + title);
    } catch (error) {
      ++failed;
      console.log('FAILED  ' + title + '\n' + error.stack);
    }
  }
  child.kill('SIGTERM');
  const [code] = await once(child, 'exit');
  if (code !== 0) ++failed;
  console.log(`${Object.keys(tests).length} tests, ${failed} failed, server exit ${code}`);
  return failed === 0 ? 0 : 1;
}
