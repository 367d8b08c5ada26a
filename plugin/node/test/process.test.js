import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';

import { selfSigned } from '../lib/certificate.js';

test('the certificate is one for localhost, signed by its own key', () => {
  const { cert, der } = selfSigned();
  const x509 = new X509Certificate(cert);
  assert.deepEqual(x509.raw, der);
  assert.equal(x509.subject, 'CN=localhost');
  assert.equal(x509.subjectAltName, 'DNS:localhost');
  assert.ok(x509.ca && x509.checkIssued(x509) && x509.verify(x509.publicKey));
  assert.ok(new Date(x509.validFrom) < new Date() && new Date(x509.validTo) > new Date());
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
