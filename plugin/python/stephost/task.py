"""One step in this process, and what its handler sees of it."""

import dataclasses
import datetime
import functools
import json
import logging
import math
import threading
import time

from . import messages
from .errors import Cancelled
from .limits import MAX_RESULT_BYTES
from .log import StepLogger
from .text import MAX_NAME, clean_text

_REASONS = {
    messages.number("CancelReason", "CANCEL_REASON_LEASE_LOST"): "lease_lost",
    messages.number("CancelReason", "CANCEL_REASON_TIMEOUT"): "timeout",
    messages.number("CancelReason", "CANCEL_REASON_DRAINING"): "draining",
}


def milliseconds(seconds):
    """Rounds up, so that a short delay does not vanish."""
    return max(0, math.ceil(seconds * 1000))


class Task:
    """A step with its state. The handler's thread owns it, but for cancel."""

    def __init__(self, step, handler, stream):
        self.step = step
        self.handler = handler
        self.stream = stream
        # Set once the pool has taken it.
        self.future = None
        self.deadline = None
        self.emits = []
        self.emit_bytes = 0
        self.ended = False
        self._stop = threading.Event()
        self._reason = None

    def start(self):
        """Starts the step's clock."""
        self.started_at = time.time()
        self.clock = time.monotonic()
        if self.step.timeout_ms > 0:
            self.deadline = self.clock + self.step.timeout_ms / 1000

    def cancel(self, reason):
        """Tells the handler to stop; the first reason counts."""
        if self._reason is None:
            self._reason = _REASONS.get(reason, "requested")
            self._stop.set()

    def cancelled(self):
        """Returns the reason, or None."""
        if self._reason is None and self.deadline is not None and time.monotonic() >= self.deadline:
            return "timeout"
        return self._reason

    def wait(self, seconds):
        """Waits, but no longer than the step may run."""
        if self.deadline is not None:
            seconds = min(seconds, self.deadline - time.monotonic())
        self._stop.wait(max(0, seconds))


@dataclasses.dataclass(frozen=True)
class Info:
    """What a handler is running.

    attempt is 1 for the first one and counts failures only. deadline is None
    where the step has no timeout. idempotency_key is the same for every
    delivery of the message, also after it has been replayed.
    """

    namespace: str
    step: str
    queue: str
    message_id: int
    attempt: int
    enqueued_at: datetime.datetime
    deadline: "datetime.datetime | None"
    idempotency_key: str
    task_uuid: str
    step_uuid: str
    correlation_id: str


class Context:
    """What a handler gets, for the time that it runs."""

    def __init__(self, task, app):
        self._task = task
        #: What setup returned, or the configuration where there is no setup.
        self.app = app

    @functools.cached_property
    def info(self):
        """What runs: an `Info`."""
        step, task = self._task.step, self._task
        deadline = step.timeout_ms > 0 and _utc(task.started_at + step.timeout_ms / 1000)
        return Info(
            namespace=step.namespace,
            step=step.step,
            queue=step.queue,
            message_id=step.message_id,
            attempt=step.attempt,
            enqueued_at=_utc(step.enqueued_at_us / 1e6),
            deadline=deadline or None,
            idempotency_key=step.idempotency_key,
            task_uuid=step.task_uuid,
            step_uuid=step.step_uuid,
            correlation_id=step.correlation_id,
        )

    @functools.cached_property
    def log(self):
        """A logger whose lines carry namespace, step, message_id and attempt."""
        step = self._task.step
        fields = {"namespace": step.namespace, "step": step.step, "message_id": step.message_id, "attempt": step.attempt}
        return StepLogger(logging.getLogger("step"), fields)

    @property
    def cancelled(self):
        """Whether the step must stop."""
        return self._task.cancelled() is not None

    def check(self):
        """Raises `Cancelled` when the step must stop."""
        reason = self._task.cancelled()
        if reason is not None:
            raise Cancelled(reason)

    def sleep(self, seconds):
        """Sleeps; raises `Cancelled` as soon as the step must stop."""
        self._task.wait(seconds)
        self.check()

    def emit(self, body, *, namespace="", queue="", delay=0, headers=None):
        """Sends a message in the transaction that completes the step.

        It goes to a namespace's queue or to a queue by name, once if the step
        succeeds and else not at all. delay is in seconds.
        """
        if bool(namespace) == bool(queue):
            raise ValueError("emit: give either a namespace or a queue")
        task = self._task
        if task.ended:
            raise RuntimeError("emit: the step has ended")
        emit = messages.Emit(body=_json(body), delay_ms=milliseconds(delay))
        if namespace:
            emit.namespace = clean_text(namespace, MAX_NAME)
        else:
            emit.queue = clean_text(queue, MAX_NAME)
        if headers:
            emit.headers = _json(headers)
        if task.emit_bytes + emit.ByteSize() > MAX_RESULT_BYTES:
            raise ValueError(f"emit: messages of one step exceed {MAX_RESULT_BYTES} bytes")
        task.emit_bytes += emit.ByteSize()
        task.emits.append(emit)

    def heartbeat(self, fraction=-1.0, message=""):
        """Tells people how far the step is: a fraction from 0 to 1, a text."""
        fraction = fraction if 0 <= fraction <= 1 else -1.0
        heartbeat = messages.Heartbeat(id=self._task.step.id, fraction=fraction, message=clean_text(message, MAX_NAME))
        self._task.stream.beat(self._task, heartbeat)


def _json(value):
    # NaN and Infinity are Python's own and no JSON.
    return json.dumps(value, allow_nan=False).encode()


def _utc(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
