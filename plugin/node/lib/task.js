import { Cancelled, milliseconds } from './errors.js';
import { MAX_RESULT_BYTES, MEMBER_OVERHEAD } from './limits.js';
import { cleanText, MAX_NAME } from './text.js';

const REASONS = {
  CANCEL_REASON_LEASE_LOST: 'lease_lost',
  CANCEL_REASON_TIMEOUT: 'timeout',
  CANCEL_REASON_DRAINING: 'draining',
};

/** One step in this process; its handler sees it as a {@link Context}. */
export class Task {
  #controller = new AbortController();
  #timer;
  emits = [];
  emitBytes = 0;
  ended = false;

  constructor(step, handler, stream) {
    this.step = step;
    this.handler = handler;
    this.stream = stream;
  }

  get signal() { return this.#controller.signal; }

  /** Starts the step's clock. */
  start() {
    this.startedAt = Date.now();
    const timeout = Number(this.step.timeoutMs);
    if (timeout <= 0) return;
    this.deadline = new Date(this.startedAt + timeout);
    // A timer cannot be longer; the host cancels such a step by itself.
    if (timeout < 2 ** 31) this.#timer = setTimeout(() => this.cancel('CANCEL_REASON_TIMEOUT'), timeout);
  }

  cancel(reason) {
    this.#controller.abort(new Cancelled(REASONS[reason] ?? 'requested'));
  }

  /** Closes the task for what its handler left behind. */
  end() {
    this.ended = true;
    clearTimeout(this.#timer);
  }
}

/** What a handler gets; index.d.ts documents it for authors. */
export class Context {
  #task;
  #logger;
  #log;
  #info;

  constructor(task, app, logger) {
    this.#task = task;
    this.#logger = logger;
    this.app = app;
  }

  get signal() { return this.#task.signal; }

  get info() {
    this.#info ??= infoOf(this.#task);
    return this.#info;
  }

  get log() {
    const { namespace, step, messageId, attempt } = this.info;
    this.#log ??= this.#logger.with({ namespace, step, message_id: messageId, attempt });
    return this.#log;
  }

  emit(target, body, { delay = 0, headers } = {}) {
    const task = this.#task;
    if (task.ended) throw new Error('emit: the step has ended');
    const { namespace, queue } = target;
    if (!namespace === !queue) throw new TypeError('emit: the target is either { namespace } or { queue }');
    const encoded = JSON.stringify(body);
    if (encoded === undefined) throw new TypeError(`emit: ${typeof body} is not JSON`);
    const emit = {
      ...(namespace ? { namespace: cleanText(namespace, MAX_NAME) } : { queue: cleanText(queue, MAX_NAME) }),
      body: Buffer.from(encoded),
      headers: headers ? Buffer.from(JSON.stringify(headers)) : undefined,
      delayMs: milliseconds(delay),
    };
    const size = emit.body.length + (emit.headers?.length ?? 0) + MEMBER_OVERHEAD;
    if (task.emitBytes + size > MAX_RESULT_BYTES) throw new Error(`emit: messages of one step exceed ${MAX_RESULT_BYTES} bytes`);
    task.emitBytes += size;
    task.emits.push(emit);
  }

  heartbeat({ fraction = -1, message = '' } = {}) {
    const task = this.#task;
    if (task.ended) return;
    const known = fraction >= 0 && fraction <= 1;
    task.stream.beat({ id: task.step.id, fraction: known ? fraction : -1, message: cleanText(message, MAX_NAME) });
  }
}

function infoOf({ step, deadline }) {
  return Object.freeze({
    namespace: step.namespace,
    step: step.step,
    queue: step.queue,
    messageId: Number(step.messageId),
    attempt: step.attempt,
    enqueuedAt: new Date(Number(step.enqueuedAtUs) / 1000),
    deadline,
    idempotencyKey: step.idempotencyKey,
    taskUuid: step.taskUuid,
    stepUuid: step.stepUuid,
    correlationId: step.correlationId,
  });
}
