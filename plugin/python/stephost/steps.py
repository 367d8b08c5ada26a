"""Knows every step in the process and runs them in a pool of threads."""

import concurrent.futures
import threading

from .limits import MAX_BATCH_RESULTS
from .outcome import outcome_of


class Steps:
    """Beyond its concurrency, steps wait in order of arrival.

    The waiting room is bounded: a host that respects the plugin's limit never
    fills it.
    """

    def __init__(self, concurrency):
        self._pool = concurrent.futures.ThreadPoolExecutor(concurrency, thread_name_prefix="step")
        self._room = concurrency + max(concurrency, MAX_BATCH_RESULTS)
        self._tasks = {}
        self._lock = threading.Lock()

    def admit(self, task, app):
        """Starts a task or lets it wait; False when there is no room.

        Raises KeyError when its id is in flight already.
        """
        with self._lock:
            if task.step.id in self._tasks:
                raise KeyError(task.step.id)
            if len(self._tasks) >= self._room:
                return False
            self._tasks[task.step.id] = task
            task.future = self._pool.submit(self._run, task, app)
        return True

    def _run(self, task, app):
        result = outcome_of(task, app)
        with self._lock:
            del self._tasks[task.step.id]
        task.stream.answer(result)

    def cancel(self, step_id, reason):
        """Cancels a running task, or withdraws and returns a waiting one.

        Unknown ids are those of steps that have just ended.
        """
        with self._lock:
            task = self._tasks.get(step_id)
            if task is not None and task.future.cancel():
                return self._tasks.pop(step_id)
        if task is not None:
            task.cancel(reason)
        return None

    def withdraw(self, stream):
        """Removes and returns the tasks of a stream that still wait."""
        with self._lock:
            waiting = [task for task in self._tasks.values() if task.stream is stream and task.future.cancel()]
            for task in waiting:
                del self._tasks[task.step.id]
        return waiting

    def cancel_stream(self, stream, reason):
        """Cancels the running tasks of a stream."""
        with self._lock:
            running = [task for task in self._tasks.values() if task.stream is stream]
        for task in running:
            task.cancel(reason)
