import { MAX_BATCH_BYTES, MAX_BATCH_RESULTS, MEMBER_OVERHEAD } from './limits.js';

/**
 * Gathers what a stream has to say. It batches naturally: an idle one writes at
 * once, and what comes while a write is in flight travels together in the next.
 */
export class Outbox {
  #call;
  #results = [];
  #head = 0;
  #beats = new Map();
  #writing = false;
  #closed = false;
  #broken = false;

  constructor(call) { this.#call = call; }

  answer(result) {
    this.#beats.delete(result.id);
    this.#results.push(result);
    this.#write();
  }

  /** Of several beats of a step that wait, the latest is sent. */
  beat(heartbeat) {
    this.#beats.set(heartbeat.id, heartbeat);
    this.#write();
  }

  /** Ends the stream once everything is written. */
  close() {
    this.#closed = true;
    this.#write();
  }

  /** Throws away what nobody reads any more. */
  break() {
    this.#broken = true;
    this.#results = [];
    this.#beats.clear();
  }

  #write() {
    if (this.#writing || this.#broken) return;
    const results = this.#take();
    const heartbeats = [...this.#beats.values()];
    this.#beats.clear();
    if (results.length === 0 && heartbeats.length === 0) {
      if (this.#closed) this.#call.end();
      return;
    }
    this.#writing = true;
    this.#call.write({ results, heartbeats }, () => {
      this.#writing = false;
      this.#write();
    });
  }

  #take() {
    let bytes = 0;
    let end = this.#head;
    while (end < this.#results.length && end - this.#head < MAX_BATCH_RESULTS) {
      bytes += sizeOf(this.#results[end]);
      if (bytes > MAX_BATCH_BYTES && end > this.#head) break;
      end++;
    }
    const batch = this.#results.slice(this.#head, end);
    this.#head = end;
    if (end === this.#results.length) {
      this.#results = [];
      this.#head = 0;
    }
    return batch;
  }
}

/** A result's encoded size, estimated from above. */
function sizeOf({ success, failure }) {
  if (success) {
    return success.emits.reduce(
      (sum, emit) => sum + emit.body.length + (emit.headers?.length ?? 0) + 1024 + MEMBER_OVERHEAD,
      success.output.length + MEMBER_OVERHEAD,
    );
  }
  // A character has up to three bytes.
  return failure ? 3 * (failure.message.length + failure.stack.length + failure.type.length) + MEMBER_OVERHEAD : MEMBER_OVERHEAD;
}
