import assert from 'node:assert/strict';
import { test } from 'node:test';

import { FieldError } from '../index.js';
import { parseDuration, parsePath } from '../lib/config.js';
import { Host } from './harness.js';

const steps = { only: ({ app }) => app };

test('the declared attributes are the schema', async (t) => {
  const host = await Host.start(t, {
    steps,
    config: {
      key: { type: 'string', required: true, secret: true },
      wait: { type: 'duration', default: '5s' },
      sizes: { type: ['list', 'number'], description: 'all of them' },
    },
  });
  const [key, wait, sizes] = host.plugin.description.config.attributes;
  assert.deepEqual([key.name, String(key.type), key.required, key.secret, key.default], ['key', '"string"', true, true, undefined]);
  assert.deepEqual([String(wait.type), wait.duration, String(wait.default)], ['"string"', true, '"5s"']);
  assert.deepEqual([String(sizes.type), sizes.duration, sizes.description], ['["list","number"]', false, 'all of them']);
});

test('setup makes what handlers get', async (t) => {
  const host = await Host.start(t, {
    steps,
    config: { wait: { type: 'duration' }, none: { type: 'duration' } },
    setup: async (config) => ({ ...config, more: 1 }),
  });
  await host.configure({ wait: '1m1.5s', none: null });
  assert.deepEqual(JSON.parse((await host.run()).success.output), { wait: 61500, none: null, more: 1 });
});

test('what setup throws points at the lines', async (t) => {
  const complaints = async (error) => {
    const host = await Host.start(t, { steps, setup() { throw error; } });
    const { diagnostics } = await host.configure();
    await assert.rejects(() => host.execute().end(), { code: 9 });
    return diagnostics.map(({ severity, detail, path }) => [severity, detail, path.map((p) => p[p.selector])]);
  };
  assert.deepEqual(await complaints(new Error('no way')), [['SEVERITY_ERROR', 'no way', []]]);
  assert.deepEqual(
    await complaints(new AggregateError([new FieldError('a', 'bad'), new FieldError('b[2].c', new Error('worse'))])),
    [['SEVERITY_ERROR', 'bad', ['a']], ['SEVERITY_ERROR', 'worse', ['b', '2', 'c']]],
  );
});

test('paths', () => {
  assert.deepEqual(parsePath('limits["eu.west"].max'), [{ attribute: 'limits' }, { key: 'eu.west' }, { attribute: 'max' }]);
  assert.deepEqual(parsePath('servers[0]'), [{ attribute: 'servers' }, { index: '0' }]);
});

test('durations are those of Go', () => {
  for (const [text, ms] of [['0', 0], ['5s', 5000], ['1h2m3.5s', 3723500], ['-250ms', -250], ['.5m', 30000], ['3µs', 0.003]]) {
    assert.equal(parseDuration(text), ms, text);
  }
  for (const text of ['', '5', 's', '5 s', '1d', '5sx', 'x5s', '+']) assert.throws(() => parseDuration(text), TypeError, text);
});
