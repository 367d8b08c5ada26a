import { inspect } from 'node:util';

import { Permanent, RetryAfter, Snooze } from './errors.js';
import { MAX_RESULT_BYTES } from './limits.js';
import { cleanText, MAX_MESSAGE, MAX_NAME, MAX_STACK } from './text.js';

/** Runs a task's handler and returns the task's one result, whatever happens. */
export async function outcomeOf(task, context) {
  task.start();
  const clock = process.hrtime.bigint();
  let outcome;
  try {
    outcome = await attempt(task, context);
  } catch (error) {
    outcome = explained(error, task.signal);
  }
  task.end();
  return {
    id: task.step.id,
    startedAtUs: task.startedAt * 1000,
    durationUs: Number((process.hrtime.bigint() - clock) / 1000n),
    ...outcome,
  };
}

async function attempt(task, context) {
  let input;
  try {
    input = JSON.parse(task.step.input.toString());
  } catch (error) {
    return failure({ type: 'bad_input', verdict: 'FAILURE_VERDICT_PERMANENT', message: `decode message: ${error.message}` });
  }
  const output = encode(await task.handler(context, input));
  if (output instanceof Error) {
    return failure({ type: 'bad_output', message: `encode result: ${output.message}` });
  }
  const size = output.length + task.emitBytes;
  if (size > MAX_RESULT_BYTES) {
    return failure({
      type: 'bad_output',
      message: `result and emitted messages have ${size} bytes together, more than the ${MAX_RESULT_BYTES} that can travel`,
    });
  }
  return { success: { output, emits: task.emits } };
}

function encode(value) {
  try {
    return Buffer.from(JSON.stringify(value) ?? '');
  } catch (error) {
    return error;
  }
}

/** What is thrown may have getters of its own, which must not end the process. */
function explained(error, signal) {
  try {
    return unsuccessful(error, signal);
  } catch (second) {
    return failure({ type: 'error', message: `the handler threw what cannot be described: ${inspect(second)}` });
  }
}

/**
 * Turns what a handler threw into an outcome. A verdict stands also when the
 * step has been cancelled, since the handler gave it knowingly.
 */
function unsuccessful(error, signal) {
  if (error instanceof Snooze) return { snooze: { delayMs: error.delay } };
  const result = {
    type: typeOf(error, signal),
    message: textOf(error),
    stack: stackOf(error),
  };
  if (error instanceof Permanent) result.verdict = 'FAILURE_VERDICT_PERMANENT';
  if (error instanceof RetryAfter) {
    result.verdict = 'FAILURE_VERDICT_RETRY_AFTER';
    result.retryAfterMs = error.delay;
  }
  return failure(result);
}

/** A failure always says something. */
const textOf = (error) => (error instanceof Error ? error.message || error.name : String(error) || 'failed');

function typeOf(error, signal) {
  if (signal.aborted) return signal.reason.reason === 'timeout' ? 'timeout' : 'cancelled';
  const verdict = error instanceof Permanent || error instanceof RetryAfter;
  const named = verdict ? error.cause : error;
  return named instanceof Error ? named.name : 'Error';
}

function stackOf(error) {
  if (!(error instanceof Error)) return '';
  const { cause } = error;
  return cause instanceof Error ? `${error.stack}\ncaused by ${cause.stack}` : error.stack;
}

/** The outcome of a failed attempt, with its texts made fit to travel. */
export function failure({ type, message, stack = '', ...rest }) {
  return {
    failure: {
      ...rest,
      type: cleanText(type, MAX_NAME),
      message: cleanText(message, MAX_MESSAGE),
      stack: cleanText(stack, MAX_STACK),
    },
  };
}
