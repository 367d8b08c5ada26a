import { decodeConfig, diagnose, schemaOf } from './config.js';
import { Slots } from './slots.js';
import { cleanText, MAX_NAME } from './text.js';

/** The plugin's side of the conversation, without its transport. */
export class Plugin {
  #declared;
  #configured = false;

  /** @param declared what {@link serve} was given; a mistake in it throws */
  constructor(declared, logger) {
    const steps = new Map(Object.entries(declared.steps ?? {}));
    if (steps.size === 0) throw new TypeError('a plugin needs at least one step');
    for (const [name, handler] of steps) {
      if (typeof handler !== 'function') throw new TypeError(`the handler of step ${name} is not a function`);
    }
    const byDefault = declared.defaultStep ?? (steps.size === 1 ? steps.keys().next().value : undefined);
    if (byDefault !== undefined && !steps.has(byDefault)) throw new TypeError(`defaultStep ${byDefault} is not among the steps`);
    const concurrency = declared.concurrency ?? 0;
    if (!Number.isInteger(concurrency) || concurrency < 0) throw new TypeError('concurrency is a whole number from 0 on');

    this.#declared = declared;
    this.logger = logger;
    this.slots = new Slots(concurrency);
    this.handlerFor = (step) => steps.get(step || byDefault);
    this.description = {
      name: cleanText(declared.name, MAX_NAME),
      version: cleanText(declared.version ?? '', MAX_NAME),
      steps: [...steps.keys()].map((name) => ({ name, default: name === byDefault })),
      maxConcurrency: concurrency,
      capabilities: ['CAPABILITY_CANCEL', 'CAPABILITY_HEARTBEAT', 'CAPABILITY_EMIT'],
      config: schemaOf(declared.config),
    };
  }

  /** Whether setup has succeeded, so that steps may run. */
  ready = false;
  /** What handlers see as ctx.app. */
  app;

  /** @returns {Promise<object[] | undefined>} diagnostics; undefined when it was called before */
  async configure(raw, logLevel) {
    if (this.#configured) return undefined;
    this.#configured = true;
    this.logger.setLevel(logLevel);
    try {
      const config = decodeConfig(this.#declared.config, raw);
      this.app = this.#declared.setup ? await this.#declared.setup(config) : config;
    } catch (error) {
      return diagnose(error);
    }
    this.ready = true;
    return [];
  }

  /** Runs the plugin's own clean-up. */
  async close() {
    if (this.ready) await this.#declared.close?.(this.app);
  }
}
