import { inspect } from 'node:util';

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'off'];

/**
 * Writes one line of hclog's JSON per record on stderr, from which the host
 * reads level, message and fields.
 */
export class Logger {
  #fields;
  #shared;

  constructor(fields = {}, shared = { level: LEVELS.indexOf('info') }) {
    this.#fields = fields;
    this.#shared = shared;
  }

  /** Returns a logger whose lines carry more fields. */
  with(fields) {
    return new Logger({ ...this.#fields, ...fields }, this.#shared);
  }

  /** Sets the level of this logger and of all that came from it. */
  setLevel(name) {
    const level = LEVELS.indexOf(name);
    if (level >= 0) this.#shared.level = level;
  }

  trace(message, fields) { this.#write(0, message, fields); }
  debug(message, fields) { this.#write(1, message, fields); }
  info(message, fields) { this.#write(2, message, fields); }
  warn(message, fields) { this.#write(3, message, fields); }
  error(message, fields) { this.#write(4, message, fields); }

  #write(level, message, fields) {
    if (level < this.#shared.level) return;
    const record = {
      '@level': LEVELS[level],
      '@message': String(message),
      '@timestamp': new Date().toISOString(),
      ...this.#fields,
      ...fields,
    };
    process.stderr.write(encode(record) + '\n');
  }
}

function encode(record) {
  try {
    return JSON.stringify(record, plain);
  } catch {
    // Something in it refers to itself or has a getter that throws.
    const texts = Object.entries(record).map(([key, value]) => [key, typeof value === 'string' ? value : inspect(value)]);
    return JSON.stringify(Object.fromEntries(texts));
  }
}

function plain(_key, value) {
  if (value instanceof Error) return value.stack;
  return typeof value === 'bigint' ? String(value) : value;
}
