import { MAX_BATCH_RESULTS } from './limits.js';

/**
 * Knows every step in the process and decides when each may run. Beyond the
 * plugin's limit, steps wait in order of arrival. The waiting room is bounded:
 * a host that respects the limit never fills it.
 */
export class Slots {
  #limit;
  #running = 0;
  #waiting = [];
  #tasks = new Map();

  /** @param {number} limit how many run at once; 0 means any number */
  constructor(limit) { this.#limit = limit; }

  has(id) { return this.#tasks.has(id); }

  /** @returns {'started' | 'waits' | 'overflows'} */
  admit(task) {
    const starts = this.#limit === 0 || this.#running < this.#limit;
    if (!starts && this.#waiting.length >= Math.max(this.#limit, MAX_BATCH_RESULTS)) return 'overflows';
    this.#tasks.set(task.step.id, task);
    if (starts) this.#running++;
    else this.#waiting.push(task);
    return starts ? 'started' : 'waits';
  }

  /** Ends a running task and returns the one that may run in its place. */
  release(task) {
    this.#tasks.delete(task.step.id);
    const next = this.#waiting.shift();
    if (next === undefined) this.#running--;
    return next;
  }

  /**
   * Cancels a running task, or withdraws and returns a waiting one. Unknown ids
   * are those of steps that have just ended.
   */
  cancel(id, reason) {
    const task = this.#tasks.get(id);
    const at = this.#waiting.indexOf(task);
    if (at < 0) {
      task?.cancel(reason);
      return undefined;
    }
    this.#waiting.splice(at, 1);
    this.#tasks.delete(id);
    return task;
  }

  /** Cancels the running tasks of a stream. */
  cancelStream(stream, reason) {
    for (const task of this.#tasks.values()) if (task.stream === stream) task.cancel(reason);
  }

  /** Removes and returns the tasks of a stream that still wait. */
  withdraw(stream) {
    const withdrawn = this.#waiting.filter((task) => task.stream === stream);
    this.#waiting = this.#waiting.filter((task) => task.stream !== stream);
    for (const task of withdrawn) this.#tasks.delete(task.step.id);
    return withdrawn;
  }
}
