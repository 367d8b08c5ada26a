import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { credentials } from '@grpc/grpc-js';

import { pem, selfSigned } from '../lib/certificate.js';
import { Client } from './harness.js';

const PLUGIN = fileURLToPath(new URL('plugin.js', import.meta.url));

test('by hand it explains itself', () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PLUGIN], { encoding: 'utf8' });
  assert.deepEqual([status, stdout], [1, '']);
  assert.match(stderr, /^fixture is a stephost plugin and runs inside a host: .*plugin\.js.*\n$/);
});

test('it leaves signals to the host, and goes when its parent is gone', { timeout: 30_000 }, async (t) => {
  // A shell in between stands for the host.
  const parent = spawn('sh', ['-c', '"$0" "$1" & wait', process.execPath, PLUGIN], {
    env: { ...process.env, STEPHOST_PLUGIN: 'b2f4c1f2-step-host-plugin-v1' },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const lines = createInterface(parent.stdout);
  const [line] = await once(lines, 'line');
  const [core, version, network, address, type, certificate] = line.split('|');
  assert.deepEqual([core, version, network, type, certificate], ['1', '1', 'unix', 'grpc', '']);

  const pid = Number(/\d+$/.exec(address)[0]);
  let gone = false;
  t.after(() => gone || process.kill(pid, 'SIGKILL'));
  for (const signal of ['SIGTERM', 'SIGINT']) process.kill(pid, signal);
  const client = new Client(`unix:${address}`, credentials.createInsecure());
  const described = await new Promise((resolve, reject) => {
    client.Describe({}, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
  client.close();
  assert.equal(described.name, 'fixture');

  parent.kill('SIGKILL');
  await once(lines, 'close'); // the plugin held the other end
  gone = true;
});

test('the certificate is one for localhost, signed by its own key', () => {
  const { cert, der } = selfSigned();
  const x509 = new X509Certificate(cert);
  assert.deepEqual(x509.raw, der);
  assert.equal(x509.subject, 'CN=localhost');
  assert.equal(x509.subjectAltName, 'DNS:localhost');
  assert.ok(x509.ca && x509.checkIssued(x509) && x509.verify(x509.publicKey));
  assert.ok(new Date(x509.validFrom) < new Date() && new Date(x509.validTo) > new Date());
});

test('PEM has no empty line, whatever the length', () => {
  for (let length = 1; length <= 200; length++) {
    const lines = pem('CERTIFICATE', Buffer.alloc(length, 7)).split('\n');
    assert.equal(lines.pop(), '');
    assert.ok(lines.every((line) => line !== '' && line.length <= 64), `${length} bytes`);
  }
});

function logged(code) {
  const program = `import { Logger } from ${JSON.stringify(new URL('../lib/log.js', import.meta.url).href)}; const log = new Logger({ a: 1 }); ${code}`;
  const { stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
  return stderr.trim().split('\n').map((line) => JSON.parse(line));
}

test('log lines are those of hclog', () => {
  const [first, second] = logged(`
    log.debug('hidden');
    log.with({ b: 2n }).warn('shown', { error: new RangeError('far') });
    log.setLevel('debug');
    const o = {}; o.o = o;
    log.debug('odd', { o });`);
  assert.equal(first['@level'], 'warn');
  assert.equal(first['@message'], 'shown');
  assert.ok(!Number.isNaN(Date.parse(first['@timestamp'])));
  assert.deepEqual([first.a, first.b], [1, '2']);
  assert.match(first.error, /^RangeError: far\n/);
  assert.deepEqual([second['@level'], second['@message']], ['debug', 'odd']);
});
