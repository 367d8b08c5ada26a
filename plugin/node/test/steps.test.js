import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Permanent, RetryAfter, Snooze } from '../index.js';
import { gate, Host, newStep } from './harness.js';

async function serving(t, steps, more) {
  const host = await Host.start(t, { steps, ...more });
  assert.deepEqual((await host.configure()).diagnostics, []);
  return host;
}

test('a result, its emitted messages and what the handler was told', async (t) => {
  const host = await serving(t, {
    only(ctx, input) {
      ctx.emit({ namespace: 'next' }, { n: input.n + 1 }, { delay: 0.2, headers: { a: 1 } });
      ctx.emit({ queue: 'q' }, 'text');
      return { got: input.n, id: ctx.info.messageId, key: ctx.info.idempotencyKey };
    },
  });
  const { id, success } = await host.run({ input: Buffer.from('{"n": 1}'), idempotencyKey: 'k' });
  assert.equal(id, '1');
  assert.deepEqual(JSON.parse(success.output), { got: 1, id: 7, key: 'k' });
  const [first, second] = success.emits;
  assert.deepEqual([first.namespace, first.delayMs, JSON.parse(first.body), JSON.parse(first.headers)], ['next', '1', { n: 2 }, { a: 1 }]);
  assert.deepEqual([second.queue, JSON.parse(second.body)], ['q', 'text']);
});

test('what is thrown decides what happens next', async (t) => {
  const cyclic = {};
  cyclic.self = cyclic;
  const host = await serving(t, {
    plain() { throw new RangeError('too far \0 \ud800'); },
    permanent() { throw new Permanent(new TypeError('never')); },
    later() { throw new RetryAfter('busy', 1500); },
    snooze() { throw new Snooze(20); },
    text() { throw 'thrown'; },
    silent() { throw new Error(); },
    odd() { throw Object.create(null); },
    cyclic: () => cyclic,
    nothing() {},
  });
  const run = (step) => host.run({ step });

  const plain = (await run('plain')).failure;
  assert.deepEqual([plain.type, plain.message, plain.verdict], ['RangeError', 'too far \ufffd \ufffd', 'FAILURE_VERDICT_UNSPECIFIED']);
  assert.match(plain.stack, /steps\.test\.js/);
  const permanent = (await run('permanent')).failure;
  assert.deepEqual([permanent.type, permanent.message, permanent.verdict], ['TypeError', 'never', 'FAILURE_VERDICT_PERMANENT']);
  const later = (await run('later')).failure;
  assert.deepEqual([later.verdict, later.retryAfterMs], ['FAILURE_VERDICT_RETRY_AFTER', '1500']);
  assert.equal((await run('snooze')).snooze.delayMs, '20');
  assert.equal((await run('text')).failure.message, 'thrown');
  assert.equal((await run('silent')).failure.message, 'Error');
  assert.match((await run('odd')).failure.message, /cannot be described/);
  assert.equal((await run('cyclic')).failure.type, 'bad_output');
  assert.equal((await run('nothing')).success.output.length, 0);
  assert.equal((await run('unheard')).failure.type, 'unknown_step');
  const bad = (await host.run({ step: 'plain', input: Buffer.from('{') })).failure;
  assert.deepEqual([bad.type, bad.verdict], ['bad_input', 'FAILURE_VERDICT_PERMANENT']);
});

test('a step is told why it must stop', async (t) => {
  const seen = [];
  const running = gate();
  const host = await serving(t, {
    wait: ({ signal }) => new Promise((_, reject) => {
      signal.addEventListener('abort', () => {
        seen.push(signal.reason.reason);
        reject(signal.reason);
      });
      running.open();
    }),
  });
  assert.equal((await host.run({ timeoutMs: 1 })).failure.type, 'timeout');

  const stream = host.execute();
  stream.send({ steps: [newStep(5)] });
  await running.promise;
  // It may come on another stream than the step's.
  const other = host.execute();
  other.send({ cancellations: [{ id: '5', reason: 'CANCEL_REASON_DRAINING' }, { id: '99', reason: 'CANCEL_REASON_REQUESTED' }] });
  await other.end();
  assert.equal((await stream.end())[0].failure.type, 'cancelled');
  assert.deepEqual(seen, ['timeout', 'draining']);
});

test('a drain gives back what waits and finishes what runs', async (t) => {
  const running = gate();
  const proceed = gate();
  const host = await serving(t, {
    async only(ctx) {
      ctx.heartbeat({ fraction: 0.1 });
      ctx.heartbeat({ fraction: 0.5, message: 'half' });
      running.open();
      await proceed.promise;
    },
  }, { concurrency: 1 });
  const stream = host.execute();
  stream.send({ steps: [newStep(1), newStep(2), newStep(3)] });
  await running.promise;
  const cancelling = host.execute();
  cancelling.send({ cancellations: [{ id: '3', reason: 'CANCEL_REASON_REQUESTED' }] });
  await cancelling.end();
  stream.call.end();
  await stream.received(2);
  proceed.open();
  const outcomes = (await stream.end()).map(({ id, outcome, notAccepted }) => [id, outcome, notAccepted?.reason]);
  assert.deepEqual(outcomes, [
    ['3', 'notAccepted', 'cancelled before it started'],
    ['2', 'notAccepted', 'plugin is draining'],
    ['1', 'success', undefined],
  ]);
  assert.deepEqual(stream.heartbeats.at(-1), { id: '1', fraction: 0.5, message: 'half' });
});

test('steps need a configuration, which is given once', async (t) => {
  const host = await Host.start(t, { steps: { only() {} } });
  await assert.rejects(() => host.execute().end(), { code: 9 });
  await host.configure();
  await assert.rejects(() => host.configure(), { code: 9 });
  assert.equal((await host.run()).outcome, 'success');
});

test('an id that is in flight already ends the stream', async (t) => {
  const host = await serving(t, { only: ({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))) });
  const stream = host.execute();
  stream.send({ steps: [newStep(1), newStep(1)] });
  await assert.rejects(() => stream.ended, { code: 3 });
});

test('beyond its concurrency steps wait, and beyond their room they go back', async (t) => {
  const proceed = gate();
  const host = await serving(t, { only: () => proceed.promise }, { concurrency: 2 });
  const stream = host.execute();
  stream.send({ steps: Array.from({ length: 1010 }, (_, n) => newStep(n + 1)) });
  await stream.received(8);
  assert.ok(stream.results.every(({ notAccepted }) => notAccepted.reason === 'plugin is at its concurrency'));
  proceed.open();
  await stream.received(1010);
  await stream.end();
  assert.equal((await host.run()).outcome, 'success');
});

test('log lines say which step they are about, from the level that the host wants', async (t) => {
  const host = await serving(t, {
    only(ctx) {
      ctx.log.debug('looking', { at: 'it' });
      ctx.log.trace('too much');
    },
  });
  const lines = [];
  t.mock.method(process.stderr, 'write', (text) => lines.push(JSON.parse(text)));
  await host.run({ step: 'only' });
  await host.setLogLevel('debug');
  await host.run({ step: 'only', attempt: 3 });
  t.mock.restoreAll();
  assert.deepEqual(lines.map((line) => ({ ...line, '@timestamp': '' })), [{
    '@level': 'debug', '@message': 'looking', '@timestamp': '',
    namespace: 'ns', step: 'only', message_id: 7, attempt: 3, at: 'it',
  }]);
});

test('a step that has ended says no more', async (t) => {
  let kept;
  const host = await serving(t, { only(ctx) { kept = ctx; } });
  const stream = host.execute();
  stream.send({ steps: [newStep(1)] });
  await stream.received(1);
  kept.heartbeat({ fraction: 1 });
  assert.throws(() => kept.emit({ queue: 'q' }, 1), /the step has ended/);
  await stream.end();
  assert.deepEqual(stream.heartbeats, []);
});

test('many results travel in one message', async (t) => {
  const host = await serving(t, { only: () => 'x'.repeat(1000) });
  const stream = host.execute();
  let messages = 0;
  stream.call.on('data', () => messages++);
  stream.send({ steps: Array.from({ length: 3000 }, (_, n) => newStep(n + 1)) });
  const results = await stream.end();
  assert.equal(new Set(results.map(({ id }) => id)).size, 3000);
  assert.ok(messages < 100, `${messages} messages`);
});

test('mistakes in a declaration show at once', async () => {
  const { Plugin } = await import('../lib/plugin.js');
  for (const declared of [{}, { steps: {} }, { steps: { a: 1 } }, { steps: { a() {} }, defaultStep: 'b' }, { steps: { a() {} }, concurrency: -1 }]) {
    assert.throws(() => new Plugin({ name: 'x', ...declared }), TypeError);
  }
});
