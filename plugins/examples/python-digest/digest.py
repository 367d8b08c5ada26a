"""Makes digests of texts, and publishes or stretches them."""

import datetime
import hashlib

import stephost

plugin = stephost.Plugin("python-digest", "1.0.0", config={
    "algorithm": stephost.Attribute("string", default="sha256", description="a name that hashlib knows"),
    "embargo": stephost.Attribute("duration", default="1s", description="how old a digest must be to be published"),
    "round": stephost.Attribute("duration", default="10ms", description="how long a round of stretching takes"),
})


@plugin.setup
def setup(config):
    if config["algorithm"] not in hashlib.algorithms_available:
        raise stephost.FieldError("algorithm", f"hashlib has no {config['algorithm']}")
    return config


@plugin.step("digest", default=True)
def digest(ctx, message):
    if not isinstance(message.get("text"), str):
        raise stephost.Permanent("there is no text in the message")
    value = hashlib.new(ctx.app["algorithm"], message["text"].encode()).hexdigest()
    ctx.log.info("digested", characters=len(message["text"]))
    ctx.emit({"step": "publish", "digest": value}, namespace="publishing")
    return {"digest": value}


@plugin.step("publish")
def publish(ctx, message):
    age = datetime.datetime.now(datetime.timezone.utc) - ctx.info.enqueued_at
    if age.total_seconds() < ctx.app["embargo"]:
        raise stephost.Snooze(ctx.app["embargo"] - age.total_seconds())
    return {"published": message["digest"], "attempt": ctx.info.attempt}


@plugin.step("stretch")
def stretch(ctx, message):
    """One round after the other takes its time, and may be told to stop."""
    value, rounds = message.get("text", "").encode(), 100
    for n in range(rounds):
        ctx.heartbeat(n / rounds, f"round {n}")
        ctx.sleep(ctx.app["round"])
        value = hashlib.new(ctx.app["algorithm"], value).digest()
    return {"digest": value.hex()}


plugin.run()
