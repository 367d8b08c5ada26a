"""One Execute call."""

import collections
import logging
import threading

import grpc

from . import messages
from .limits import MAX_BATCH_BYTES, MAX_BATCH_RESULTS
from .outcome import fail
from .task import Task

_LEASE_LOST = messages.number("CancelReason", "CANCEL_REASON_LEASE_LOST")


class Stream:
    """Takes steps in by one thread and gives results out by another.

    It batches naturally: gRPC asks for the next message when it has sent one,
    and gets all that has come meanwhile.
    """

    def __init__(self, plugin):
        self._plugin = plugin
        self._changed = threading.Condition()
        # All of these are guarded by the condition.
        self._results = collections.deque()
        self._beats = {}
        self._unanswered = 0
        self._drained = False
        self._broken = False
        self._fault = None

    def serve(self, requests, call):
        """Yields responses until everything is answered."""
        if not call.add_callback(self._break):
            self._break()
        threading.Thread(target=self._receive, args=(requests,), name="receive", daemon=True).start()
        while True:
            with self._changed:
                self._changed.wait_for(self._has_news)
                if self._fault or self._broken:
                    break
                response = self._take()
            if response is None:
                return
            yield response
        if self._fault:
            call.abort(*self._fault)

    def beat(self, task, heartbeat):
        """Of several beats of a step that wait, the latest is sent.

        A step that has ended sends none: the lock orders this and its answer.
        """
        with self._changed:
            if task.ended:
                return
            self._beats[heartbeat.id] = heartbeat
            self._changed.notify()

    def answer(self, result):
        """Gives a task's result back."""
        with self._changed:
            self._beats.pop(result.id, None)
            self._results.append(result)
            self._unanswered -= 1
            self._changed.notify()

    def _has_news(self):
        return self._results or self._beats or self._fault or self._broken or (self._drained and self._unanswered == 0)

    def _take(self):
        """Returns the next message, or None at the end."""
        response = messages.ExecuteResponse()
        size = 0
        while self._results and len(response.results) < MAX_BATCH_RESULTS:
            size += self._results[0].ByteSize()
            if size > MAX_BATCH_BYTES and response.results:
                break
            response.results.append(self._results.popleft())
        response.heartbeats.extend(self._beats.values())
        self._beats.clear()
        return response if response.results or response.heartbeats else None

    def _receive(self, requests):
        try:
            for request in requests:
                for step in request.steps:
                    self._accept(step)
                for cancellation in request.cancellations:
                    withdrawn = self._plugin.steps.cancel(cancellation.id, cancellation.reason)
                    if withdrawn:
                        withdrawn.stream.refuse(withdrawn, "cancelled before it started")
        except grpc.RpcError:
            pass  # broken, of which _break is told
        except Exception as error:
            # No thread can be started, say. The host must not wait for steps
            # that nobody runs.
            logging.getLogger("stream").exception("take steps in")
            self._fail(grpc.StatusCode.INTERNAL, f"take steps in: {error}")
        else:
            self._drain()

    def _fail(self, code, text):
        with self._changed:
            self._fault = (code, text)
            self._changed.notify()

    def _accept(self, step):
        handler = self._plugin.handler_for(step.step)
        with self._changed:
            self._unanswered += 1
        if handler is None:
            result = messages.Result(id=step.id)
            fail(result, "unknown_step", f"plugin has no handler for step {step.step!r}")
            self.answer(result)
            return
        task = Task(step, handler, self)
        try:
            if not self._plugin.steps.admit(task, self._plugin.app):
                self.refuse(task, "plugin is at its concurrency")
        except KeyError:
            self._fail(grpc.StatusCode.INVALID_ARGUMENT, f"step id {step.id} is in flight already")

    def refuse(self, task, reason):
        """Gives back a step that never ran."""
        result = messages.Result(id=task.step.id)
        result.not_accepted.reason = reason
        self.answer(result)

    def _drain(self):
        """The host's half-close: what waits goes back, what runs finishes."""
        for task in self._plugin.steps.withdraw(self):
            self.refuse(task, "plugin is draining")
        with self._changed:
            self._drained = True
            self._changed.notify()

    def _break(self):
        """The call has ended. Where it did so early, nobody reads the outcomes:
        another host may run the messages by now."""
        with self._changed:
            self._broken = True
            self._changed.notify()
        self._plugin.steps.withdraw(self)
        self._plugin.steps.cancel_stream(self, _LEASE_LOST)
