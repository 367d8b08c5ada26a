import { status } from '@grpc/grpc-js';

import { failure, outcomeOf } from './outcome.js';
import { Outbox } from './outbox.js';
import { Context, Task } from './task.js';

/** One Execute call. */
export class Stream {
  #plugin;
  #call;
  #out;
  #unanswered = 0;
  #draining = false;

  /** @param plugin a configured plugin: handlerFor, slots, app, logger */
  constructor(plugin, call) {
    this.#plugin = plugin;
    this.#call = call;
    this.#out = new Outbox(call);
    call.on('data', (request) => this.#receive(request));
    call.on('end', () => this.#drain());
    call.on('cancelled', () => this.#break());
    call.on('error', () => this.#break());
  }

  beat(heartbeat) { this.#out.beat(heartbeat); }

  #receive({ steps, cancellations }) {
    for (const step of steps) this.#accept(step);
    for (const { id, reason } of cancellations) {
      const withdrawn = this.#plugin.slots.cancel(id, reason);
      withdrawn?.stream.#refuse(withdrawn, 'cancelled before it started');
    }
  }

  #accept(step) {
    const { slots, handlerFor } = this.#plugin;
    const handler = handlerFor(step.step);
    if (handler === undefined) {
      const message = `plugin has no handler for step ${JSON.stringify(step.step)}`;
      this.#out.answer({ id: step.id, ...failure({ type: 'unknown_step', message }) });
      return;
    }
    if (slots.has(step.id)) {
      this.#call.emit('error', { code: status.INVALID_ARGUMENT, details: `step id ${step.id} is in flight already` });
      return;
    }
    const task = new Task(step, handler, this);
    this.#unanswered++;
    switch (slots.admit(task)) {
      case 'started':
        this.#run(task);
        break;
      case 'overflows':
        this.#refuse(task, 'plugin is at its concurrency');
        break;
    }
  }

  async #run(task) {
    const { app, logger, slots } = this.#plugin;
    const result = await outcomeOf(task, new Context(task, app, logger));
    const next = slots.release(task);
    next?.stream.#run(next);
    this.#answer(result);
  }

  #refuse(task, reason) {
    task.end();
    this.#answer({ id: task.step.id, notAccepted: { reason } });
  }

  #answer(result) {
    this.#out.answer(result);
    this.#unanswered--;
    this.#closeWhenDone();
  }

  /** The host's half-close: what waits goes back, what runs finishes. */
  #drain() {
    this.#draining = true;
    for (const task of this.#plugin.slots.withdraw(this)) this.#refuse(task, 'plugin is draining');
    this.#closeWhenDone();
  }

  #closeWhenDone() {
    if (this.#draining && this.#unanswered === 0) this.#out.close();
  }

  /** Nobody reads the outcomes: another host may run the messages by now. */
  #break() {
    this.#out.break();
    this.#plugin.slots.cancelStream(this, 'CANCEL_REASON_LEASE_LOST');
    for (const task of this.#plugin.slots.withdraw(this)) task.end();
  }
}
