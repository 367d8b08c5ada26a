/** A JSON value, as it comes from and goes to the database. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/**
 * A step's function. The message is the input, what it returns (or resolves to)
 * is the result. What it throws fails the step: by the namespace's retry policy,
 * unless it is a {@link Permanent}, {@link RetryAfter} or {@link Snooze}.
 */
export type Handler<App = any, In = any, Out = unknown> = (ctx: Context<App>, input: In) => Out | Promise<Out>;

/** What a handler gets, for the time that it runs. */
export interface Context<App = any> {
  /** What setup returned, or the configuration where there is no setup. */
  readonly app: App;
  /** What runs. */
  readonly info: Info;
  /** Lines carry namespace, step, message_id and attempt. */
  readonly log: Logger;
  /**
   * Aborted when the step must stop; its reason is a {@link Cancelled}. Pass it
   * on to whatever waits.
   */
  readonly signal: AbortSignal;
  /**
   * Sends a message in the transaction that completes the step: once if it
   * succeeds, and not at all if it fails, snoozes or is given back.
   */
  emit(target: Target, body: unknown, options?: EmitOptions): void;
  /**
   * Tells people how far the step is. The lease needs no heartbeat; of several
   * in quick succession the last one is sent.
   */
  heartbeat(progress?: { /** from 0 to 1 */ fraction?: number; message?: string }): void;
}

/** The queue of a namespace, or a queue by its name. */
export type Target = { namespace: string; queue?: undefined } | { queue: string; namespace?: undefined };

export interface EmitOptions {
  /** Milliseconds for which the message stays invisible. */
  delay?: number;
  headers?: Record<string, unknown>;
}

/** What a handler is running. */
export interface Info {
  readonly namespace: string;
  readonly step: string;
  readonly queue: string;
  readonly messageId: number;
  /** 1 for the first attempt; only failures count. */
  readonly attempt: number;
  readonly enqueuedAt: Date;
  /** Undefined where the step has no timeout. */
  readonly deadline?: Date;
  /** The same for every delivery of the message, also after it was replayed. */
  readonly idempotencyKey: string;
  readonly taskUuid: string;
  readonly stepUuid: string;
  readonly correlationId: string;
}

export interface Logger {
  trace(message: string, fields?: Record<string, unknown>): void;
  debug(message: string, fields?: Record<string, unknown>): void;
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
  /** Returns a logger whose lines carry more fields. */
  with(fields: Record<string, unknown>): Logger;
}

/**
 * A type in cty's JSON notation, or "duration": the user writes "1m30s" and
 * setup gets milliseconds.
 */
export type AttributeType =
  | 'string' | 'number' | 'bool' | 'duration'
  | ['list' | 'set' | 'map', AttributeType]
  | ['object', Record<string, AttributeType>];

/** One attribute of the plugin's config block. */
export interface Attribute {
  type: AttributeType;
  /** As the user would write it; without one the value is null. */
  default?: Json;
  required?: boolean;
  /** The host shows a secret nowhere; the plugin must not either. */
  secret?: boolean;
  description?: string;
}

/** What {@link serve} serves. */
export interface PluginOptions<Config = any, App = Config> {
  /** For people; the script's name by default. */
  name?: string;
  version?: string;
  steps: Record<string, Handler<App>>;
  /** The step of messages that name none. A plugin with one step needs none. */
  defaultStep?: string;
  /** The attributes of the config block; without them the plugin takes none. */
  config?: Record<string, Attribute>;
  /**
   * Is called once with the configuration; what it returns is ctx.app. What it
   * throws keeps the plugin from starting.
   */
  setup?(config: Config): App | Promise<App>;
  /** Is called after the last step when the host stops the plugin. */
  close?(app: App): void | Promise<void>;
  /** How many steps run at once; 0, the default, leaves it to the host. */
  concurrency?: number;
}

/** Serves a plugin until the host stops it, and then exits. */
export function serve<Config = any, App = Config>(plugin: PluginOptions<Config, App>): void;

/** No attempt would succeed: the message is dead-lettered now. */
export class Permanent extends Error {
  constructor(cause: string | Error);
}

/** A failed attempt whose next one comes after a delay in milliseconds. */
export class RetryAfter extends Error {
  constructor(cause: string | Error, delay: number);
  readonly delay: number;
}

/** Not now; no failure, no attempt spent. The delay is in milliseconds. */
export class Snooze extends Error {
  constructor(delay: number);
  readonly delay: number;
}

/**
 * Thrown by setup to point the user at the line of an attribute, which path
 * names: `endpoint`, `servers[0]`, `limits["eu"]`. Throw several as an
 * AggregateError.
 */
export class FieldError extends Error {
  constructor(path: string, cause: string | Error);
  readonly path: string;
}

/** The reason of an aborted {@link Context.signal}. */
export class Cancelled extends Error {
  readonly reason: 'timeout' | 'lease_lost' | 'draining' | 'requested';
}
