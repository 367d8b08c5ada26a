import { FieldError } from './errors.js';
import { cleanText, MAX_MESSAGE, MAX_NAME } from './text.js';

/**
 * Turns the declaration of a plugin's config block into the schema that the
 * host decodes the user's file against.
 */
export function schemaOf(declared) {
  if (!declared) return undefined;
  const attributes = Object.entries(declared).map(([name, attribute]) => {
    const { type, required = false, secret = false, description = '' } = attribute;
    if (type === undefined) throw new TypeError(`config attribute ${name} has no type`);
    const duration = type === 'duration';
    if (duration && attribute.default !== undefined) parseDuration(attribute.default);
    return {
      name,
      type: Buffer.from(JSON.stringify(duration ? 'string' : type)),
      required,
      default: attribute.default === undefined ? undefined : Buffer.from(JSON.stringify(attribute.default)),
      secret,
      description,
      duration,
    };
  });
  return { attributes };
}

/** Decodes the value of the block; durations become milliseconds. */
export function decodeConfig(declared, raw) {
  if (!declared || raw.length === 0) return {};
  const config = JSON.parse(raw.toString());
  for (const [name, { type }] of Object.entries(declared)) {
    if (type === 'duration' && config[name] != null) config[name] = parseDuration(config[name]);
  }
  return config;
}

const UNITS = { ns: 1e-6, us: 1e-3, 'µs': 1e-3, 'μs': 1e-3, ms: 1, s: 1e3, m: 60e3, h: 3600e3 };

/** Reads a Go duration, like "1m30s", as milliseconds. */
export function parseDuration(text) {
  const [, sign, rest] = /^([+-]?)(.*)$/s.exec(text);
  if (rest === '0') return 0;
  let sum = 0;
  const left = rest.replace(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/gy, (_, number, unit) => {
    sum += Number(number) * UNITS[unit];
    return '';
  });
  if (rest === '' || left !== '') throw new TypeError(`not a duration like "30s" or "1m30s": ${JSON.stringify(text)}`);
  return sign === '-' ? -sum : sum;
}

/** Turns what setup threw into diagnostics, one for each field it names. */
export function diagnose(error) {
  const errors = error instanceof AggregateError && error.errors.length > 0 ? error.errors : [error];
  return errors.map((one) => ({
    severity: 'SEVERITY_ERROR',
    summary: one instanceof FieldError ? 'Plugin rejects a value' : 'Plugin cannot be set up',
    detail: cleanText(one?.message ?? one, MAX_MESSAGE),
    path: one instanceof FieldError ? parsePath(one.path) : [],
  }));
}

/** Reads a path like `servers[0].port` or `limits["eu"]`. */
export function parsePath(text) {
  const steps = [];
  for (const [, name, index, key] of String(text).matchAll(/([^.[\]]+)|\[(\d+)\]|\["([^"]*)"\]/g)) {
    if (name !== undefined) steps.push({ attribute: cleanText(name, MAX_NAME) });
    else if (index !== undefined) steps.push({ index });
    else steps.push({ key: cleanText(key, MAX_NAME) });
  }
  return steps;
}
