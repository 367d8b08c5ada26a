"""Runs a handler and makes a result of whatever it does."""

import json
import time
import traceback

from . import messages
from .errors import Permanent, RetryAfter, Snooze
from .limits import MAX_RESULT_BYTES
from .task import Context, milliseconds
from .text import MAX_MESSAGE, MAX_NAME, MAX_STACK, clean_text

_PERMANENT = messages.number("FailureVerdict", "FAILURE_VERDICT_PERMANENT")
_RETRY_AFTER = messages.number("FailureVerdict", "FAILURE_VERDICT_RETRY_AFTER")


def outcome_of(task, app):
    """Returns the task's one result."""
    task.start()
    result = messages.Result(id=task.step.id, started_at_us=int(task.started_at * 1e6))
    try:
        _attempt(task, app, result)
    # SystemExit too: a handler must not end the process, nor go unanswered.
    except BaseException as error:
        _explain(task, error, result)
    task.ended = True
    result.duration_us = int((time.monotonic() - task.clock) * 1e6)
    return result


def _attempt(task, app, result):
    try:
        given = json.loads(task.step.input)
    except (ValueError, RecursionError) as error:
        fail(result, "bad_input", f"decode message: {error}", verdict=_PERMANENT)
        return
    returned = task.handler(Context(task, app), given)
    try:
        output = json.dumps(returned, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        fail(result, "bad_output", f"encode result: {error}")
        return
    size = len(output) + task.emit_bytes
    if size > MAX_RESULT_BYTES:
        text = f"result and emitted messages have {size} bytes together, more than the {MAX_RESULT_BYTES} that can travel"
        fail(result, "bad_output", text)
        return
    result.success.output = output
    result.success.emits.extend(task.emits)


def _explain(task, error, result):
    """An exception's methods are the handler's code as well."""
    try:
        _unsuccessful(task, error, result)
    except Exception as second:
        fail(result, "error", f"the handler raised what cannot be described: {type(second).__name__}")


def _unsuccessful(task, error, result):
    """Makes a result of an error.

    A verdict stands also when the step has been cancelled, since the handler
    gave it knowingly.
    """
    if isinstance(error, Snooze):
        result.snooze.delay_ms = milliseconds(error.delay)
        return
    stack = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    fail(result, _type_of(task, error), str(error) or type(error).__name__, stack)
    if isinstance(error, Permanent):
        result.failure.verdict = _PERMANENT
    elif isinstance(error, RetryAfter):
        result.failure.verdict = _RETRY_AFTER
        result.failure.retry_after_ms = milliseconds(error.delay)


def _type_of(task, error):
    reason = task.cancelled()
    if reason is not None:
        return "timeout" if reason == "timeout" else "cancelled"
    if isinstance(error, (Permanent, RetryAfter)):
        if error.__cause__ is None:
            return "error"
        error = error.__cause__
    cls = type(error)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def fail(result, kind, message, stack="", verdict=0):
    """Makes a failed attempt of a result."""
    failure = result.failure
    failure.type = clean_text(kind, MAX_NAME)
    failure.message = clean_text(message, MAX_MESSAGE)
    failure.stack = clean_text(stack, MAX_STACK)
    failure.verdict = verdict
