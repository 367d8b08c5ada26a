#!/usr/bin/env node
// Kills its process in the first execution of a message, which then runs again.
import { appendFileSync, existsSync } from 'node:fs';

import { serve } from 'stephost';

serve({
  name: 'key',
  version: '1.0.0',
  steps: {
    tell(ctx, { path }) {
      const again = existsSync(path);
      appendFileSync(path, `${ctx.info.idempotencyKey}\n`);
      if (!again) process.kill(process.pid, 'SIGKILL');
      return { key: ctx.info.idempotencyKey };
    },
  },
});
