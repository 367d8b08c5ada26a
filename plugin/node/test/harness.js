// A host for one plugin, in this process and over a real connection.
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { credentials, makeClientConstructor, Server, ServerCredentials } from '@grpc/grpc-js';

import { Logger } from '../lib/log.js';
import { Plugin } from '../lib/plugin.js';
import { addServices, pluginService } from '../lib/services.js';

// Bounds every wait, in milliseconds; nothing depends on its length.
const PATIENCE = 30_000;

export const Client = makeClientConstructor(pluginService, 'PluginService');

export class Host {
  /** Serves a plugin until the test ends. */
  static async start(t, declared) {
    const host = new Host();
    const logger = new Logger();
    logger.setLevel('off');
    const server = new Server();
    host.plugin = new Plugin({ name: 'test', ...declared }, logger);
    addServices(server, host.plugin, () => {});
    const address = `unix:${join(tmpdir(), randomUUID())}`;
    await new Promise((resolve, reject) => {
      server.bindAsync(address, ServerCredentials.createInsecure(), (error) => (error ? reject(error) : resolve()));
    });
    host.client = new Client(address, credentials.createInsecure());
    t.after(() => {
      host.client.close();
      server.forceShutdown();
    });
    return host;
  }

  configure(config) {
    return new Promise((resolve, reject) => {
      const raw = config === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(config));
      this.client.Configure({ config: raw, logLevel: 'off' }, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
  }

  setLogLevel(logLevel) {
    return new Promise((resolve, reject) => {
      this.client.SetLogLevel({ logLevel }, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
  }

  execute() { return new Exchange(this.client.Execute()); }

  /** Runs one step and returns its result. */
  async run(step) {
    const exchange = this.execute();
    exchange.send({ steps: [newStep(1, step)] });
    const [result] = await exchange.end();
    return result;
  }
}

export class Exchange {
  results = [];
  heartbeats = [];

  constructor(call) {
    this.call = call;
    call.on('data', ({ results, heartbeats }) => {
      this.results.push(...results);
      this.heartbeats.push(...heartbeats);
    });
    this.ended = once(call, 'end', { signal: AbortSignal.timeout(PATIENCE) });
    this.ended.catch(() => {});
  }

  send(request) { this.call.write(request); }

  /** Waits for n results in all. */
  async received(n) {
    while (this.results.length < n) await once(this.call, 'data', { signal: AbortSignal.timeout(PATIENCE) });
  }

  /** Half-closes and returns all results once the plugin has ended the stream. */
  async end() {
    this.call.end();
    await this.ended;
    return this.results;
  }
}

export function newStep(id, fields = {}) {
  return { id: String(id), namespace: 'ns', step: '', queue: 'ns_queue', messageId: '7', attempt: 1, input: Buffer.from('{}'), ...fields };
}

/** A promise that a handler waits for, to be resolved by the test. */
export function gate() {
  const it = {};
  it.promise = new Promise((resolve) => { it.open = resolve; });
  return it;
}
