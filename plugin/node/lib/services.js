import { fileURLToPath } from 'node:url';

import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

import { Stream } from './stream.js';

const PROTO = fileURLToPath(new URL('../plugin.proto', import.meta.url));

/** The service as grpc-js knows it. Ids have 64 bits and travel as text. */
export const pluginService = loadSync(PROTO, { longs: String, enums: String, defaults: true, oneofs: true })['stephost.plugin.v1.PluginService'];

/** Registers all that a host calls. onShutdown is called once it asks to end. */
export function addServices(server, plugin, onShutdown) {
  server.addService(pluginService, {
    Describe: (_call, answer) => answer(null, plugin.description),
    Configure: async ({ request }, answer) => {
      const diagnostics = await plugin.configure(request.config, request.logLevel);
      if (diagnostics) answer(null, { diagnostics });
      else answer({ code: grpc.status.FAILED_PRECONDITION, details: 'plugin is configured already' });
    },
    SetLogLevel: ({ request }, answer) => {
      plugin.logger.setLevel(request.logLevel);
      answer(null, {});
    },
    Execute: (call) => {
      if (plugin.ready) new Stream(plugin, call);
      else call.emit('error', { code: grpc.status.FAILED_PRECONDITION, details: 'plugin is not configured' });
    },
  });
  // Both of these are older than any schema language: an answer of two bytes,
  // SERVING in field 1, and one of none.
  server.addService({ Check: rawMethod('/grpc.health.v1.Health/Check') }, {
    Check: (_call, answer) => answer(null, Buffer.from([8, 1])),
  });
  server.addService({ Shutdown: rawMethod('/plugin.GRPCController/Shutdown') }, {
    Shutdown: (_call, answer) => {
      answer(null, Buffer.alloc(0));
      onShutdown();
    },
  });
}

const same = (bytes) => bytes;

const rawMethod = (path) => ({
  path,
  requestStream: false,
  responseStream: false,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});
