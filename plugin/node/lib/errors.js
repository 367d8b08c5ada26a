// The errors that say more than "it failed", thrown by handlers and by setup.

/** Throw it when no attempt would succeed: the message is dead-lettered now. */
export class Permanent extends Error {
  /** @param {string | Error} cause */
  constructor(cause) {
    super(textOf(cause), causeOf(cause));
    this.name = 'Permanent';
  }
}

/** Throw it for a failed attempt whose next one should come after a delay. */
export class RetryAfter extends Error {
  /**
   * @param {string | Error} cause
   * @param {number} delay milliseconds; negative counts as 0
   */
  constructor(cause, delay) {
    super(textOf(cause), causeOf(cause));
    this.name = 'RetryAfter';
    this.delay = milliseconds(delay);
  }
}

/** Throw it when the step cannot run yet: no failure, no attempt spent. */
export class Snooze extends Error {
  /** @param {number} delay milliseconds; negative counts as 0 */
  constructor(delay) {
    super(`snoozed for ${delay} ms`);
    this.name = 'Snooze';
    this.delay = milliseconds(delay);
  }
}

/**
 * Throw it from setup to point the user at the line of an attribute. Throw
 * several as an AggregateError.
 */
export class FieldError extends Error {
  /**
   * @param {string} path like `endpoint`, `servers[0]` or `limits["eu"]`
   * @param {string | Error} cause
   */
  constructor(path, cause) {
    super(textOf(cause), causeOf(cause));
    this.name = 'FieldError';
    this.path = path;
  }
}

/** The reason of an aborted `ctx.signal`. */
export class Cancelled extends Error {
  /** @param {'timeout' | 'lease_lost' | 'draining' | 'requested'} reason */
  constructor(reason) {
    super(explanations[reason]);
    this.name = 'Cancelled';
    this.reason = reason;
  }
}

const explanations = {
  timeout: 'step timed out',
  lease_lost: 'lease on the message was lost',
  draining: 'host is draining',
  requested: 'step was cancelled',
};

const textOf = (cause) => (cause instanceof Error ? cause.message : String(cause));

const causeOf = (cause) => (cause instanceof Error ? { cause } : undefined);

/** Rounds up, so that a short delay does not vanish. */
export function milliseconds(delay) {
  if (typeof delay !== 'number' || !Number.isFinite(delay)) {
    throw new TypeError(`a delay is a number of milliseconds, not ${delay}`);
  }
  return Math.max(0, Math.ceil(delay));
}
