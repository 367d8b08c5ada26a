"""Kills its process in the first execution of a message, which then runs again."""

import os
import signal

import stephost

plugin = stephost.Plugin("key", "1.0.0")


@plugin.step("tell", default=True)
def tell(ctx, message):
    again = os.path.exists(message["path"])
    with open(message["path"], "a", encoding="utf-8") as f:
        f.write(ctx.info.idempotency_key + "\n")
    if not again:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"key": ctx.info.idempotency_key}


plugin.run()
