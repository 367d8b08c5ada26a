import { Console } from 'node:console';
import { writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { argv, env, exit, pid, ppid } from 'node:process';

import { Server, ServerCredentials } from '@grpc/grpc-js';

import { selfSigned } from './certificate.js';
import { MAX_MESSAGE_BYTES } from './limits.js';
import { Logger } from './log.js';
import { Plugin } from './plugin.js';
import { addServices } from './services.js';

const COOKIE = 'b2f4c1f2-step-host-plugin-v1';

/**
 * Serves a plugin until the host stops it, and then exits. Call it once, with
 * what index.d.ts describes; a mistake in that throws at once.
 */
export function serve(declared) {
  const logger = new Logger();
  const plugin = new Plugin({ name: basename(argv[1] ?? 'plugin'), ...declared }, logger);
  if (env.STEPHOST_PLUGIN !== COOKIE) {
    console.error(`${plugin.description.name} is a stephost plugin and runs inside a host: set command = ${JSON.stringify(argv[1])} in a plugin block of config.hcl and start \`stephost run --config config.hcl\``);
    exit(1);
  }
  // The first line on stdout is the handshake; nothing else belongs there.
  globalThis.console = new Console(process.stderr);
  // A signal to the whole group must not end handlers: the host drains first.
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => {});

  const server = new Server({
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
  });
  addServices(server, plugin, () => stop(plugin, logger));
  const { credentials, certificate } = security();
  const socket = join(env.PLUGIN_UNIX_SOCKET_DIR || tmpdir(), `plugin${pid}`);
  server.bindAsync(`unix:${socket}`, credentials, (error) => {
    if (error) throw error;
    writeSync(1, `1|1|unix|${socket}|grpc|${certificate}\n`);
  });
  leaveWithHost();
}

/** Mutual TLS where the host gave a certificate, else none. */
function security() {
  const hostCertificate = env.PLUGIN_CLIENT_CERT;
  if (!hostCertificate) return { credentials: ServerCredentials.createInsecure(), certificate: '' };
  const { key, cert, der } = selfSigned();
  return {
    credentials: ServerCredentials.createSsl(Buffer.from(hostCertificate), [{ private_key: key, cert_chain: cert }], true),
    certificate: der.toString('base64').replace(/=+$/, ''),
  };
}

async function stop(plugin, logger) {
  let code = 0;
  try {
    await plugin.close();
  } catch (error) {
    logger.error('close plugin', { error });
    code = 1;
  }
  exit(code);
}

/** Ends the process when its parent is gone, for whatever the host cannot kill. */
function leaveWithHost() {
  setInterval(() => {
    if (process.ppid !== ppid) exit(1);
  }, 1000).unref();
}
