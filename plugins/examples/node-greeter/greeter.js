#!/usr/bin/env node
// Greets people in their language, and posts or engraves the greeting.
import { setTimeout as sleep } from 'node:timers/promises';

import { FieldError, Permanent, RetryAfter, serve } from 'stephost';

function greet(ctx, { name, language = 'en' }) {
  if (!name) throw new Permanent('there is no name in the message');
  const greeting = ctx.app.greetings[language];
  if (!greeting) throw new Permanent(`there is no greeting in language ${language}`);
  ctx.log.info('greeting', { name, language });
  const text = greeting.replace('{name}', name);
  ctx.emit({ namespace: 'post' }, { step: 'post', text });
  return { text };
}

// The post office is closed whenever somebody comes for the first time.
function post(ctx, { text }) {
  if (ctx.info.attempt === 1) throw new RetryAfter('the post office is closed', ctx.app.closed);
  return { posted: text };
}

// One letter after the other takes its time, and may be told to stop.
async function engrave(ctx, { text = 'Hello, world!' }) {
  for (let done = 0; done < text.length; done++) {
    ctx.heartbeat({ fraction: done / text.length, message: text.slice(0, done) });
    await sleep(ctx.app.letter, undefined, { signal: ctx.signal });
  }
  return { engraved: text };
}

serve({
  name: 'node-greeter',
  version: '1.0.0',
  config: {
    greetings: { type: ['map', 'string'], default: { en: 'Hello, {name}!' }, description: 'a text with {name} in it, for each language' },
    closed: { type: 'duration', default: '1s', description: 'how long the post office is closed' },
    letter: { type: 'duration', default: '80ms', description: 'how long it takes to engrave a letter' },
  },
  setup(config) {
    const nameless = Object.entries(config.greetings).filter(([, text]) => !text.includes('{name}'));
    if (nameless.length > 0) {
      throw new AggregateError(nameless.map(([language]) => new FieldError(`greetings["${language}"]`, 'there is no {name} in it')));
    }
    return config;
  },
  steps: { greet, post, engrave },
  defaultStep: 'greet',
});
