/**
 * SDK for stephost plugins. A plugin is a program with a function for each
 * kind of step; {@link serve} runs it inside a host. See README.md.
 */
export { serve } from './lib/serve.js';
export { Cancelled, FieldError, Permanent, RetryAfter, Snooze } from './lib/errors.js';
