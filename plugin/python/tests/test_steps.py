import itertools
import json
import logging
import sys
import threading
import unittest
import unittest.mock

import grpc

from stephost import Cancelled, Permanent, Plugin, RetryAfter, Snooze
from stephost.steps import Steps

from .harness import Host, cancellation, new_step


class StepsTest(unittest.TestCase):
    def serve(self, *functions, **options):
        plugin = Plugin("test", **options)
        for function in functions:
            plugin.step(function.__name__)(function)
        host = Host(self, plugin)
        self.assertEqual([], list(host.configure()))
        return host

    def test_result_emits_and_info(self):
        def only(ctx, message):
            ctx.emit({"n": message["n"] + 1}, namespace="next", delay=0.0002, headers={"a": 1})
            ctx.emit("text", queue="q")
            with self.assertRaises(ValueError):
                ctx.emit(1)
            return [message["n"], ctx.info.message_id, ctx.info.idempotency_key]

        success = self.serve(only).run(input=b'{"n": 1}', idempotency_key="k").success
        self.assertEqual([1, 7, "k"], json.loads(success.output))
        first, second = success.emits
        self.assertEqual(("next", 1, b'{"n": 2}', b'{"a": 1}'), (first.namespace, first.delay_ms, first.body, first.headers))
        self.assertEqual(("q", b'"text"'), (second.queue, second.body))

    def test_what_is_raised_decides_what_happens_next(self):
        def plain(_ctx, _message):
            raise ValueError("a \0 \ud800")

        def permanent(_ctx, _message):
            raise Permanent("never") from grpc.RpcError()

        def later(_ctx, _message):
            raise RetryAfter("busy", 1.5)

        def snooze(_ctx, _message):
            raise Snooze(0.02)

        def leaves(_ctx, _message):
            sys.exit(3)

        def mute(_ctx, _message):
            raise Mute()

        def odd(_ctx, _message):
            return float("nan")

        host = self.serve(plain, permanent, later, snooze, leaves, mute, odd)
        failure = host.run(step="plain").failure
        self.assertEqual(("ValueError", "a \ufffd ?", 0), (failure.type, failure.message, failure.verdict))
        self.assertIn("test_steps.py", failure.stack)
        failure = host.run(step="permanent").failure
        self.assertEqual(("grpc.RpcError", "never", 1), (failure.type, failure.message, failure.verdict))
        failure = host.run(step="later").failure
        self.assertEqual((2, 1500), (failure.verdict, failure.retry_after_ms))
        self.assertEqual(20, host.run(step="snooze").snooze.delay_ms)
        self.assertEqual("SystemExit", host.run(step="leaves").failure.type)
        self.assertRegex(host.run(step="mute").failure.message, "cannot be described: ZeroDivisionError")
        self.assertEqual("bad_output", host.run(step="odd").failure.type)
        self.assertEqual("unknown_step", host.run(step="unheard").failure.type)
        failure = host.run(step="plain", input=b"{").failure
        self.assertEqual(("bad_input", 1), (failure.type, failure.verdict))
        failure = host.run(step="odd", input=b"[" * 5000 + b"]" * 5000).failure
        self.assertEqual(("bad_input", 1), (failure.type, failure.verdict), "nested deeper than Python reads")

    def test_a_step_is_told_why_it_must_stop(self):
        seen = []
        running = threading.Event()

        def wait(ctx, _message):
            running.set()
            try:
                ctx.sleep(30)
            except Cancelled as cancelled:
                seen.append(cancelled.reason)
                raise

        host = self.serve(wait)
        self.assertEqual("timeout", host.run(timeout_ms=1).failure.type)
        running.clear()
        stream = host.execute()
        stream.send(steps=[new_step(5)])
        self.assertTrue(running.wait(30))
        # It may come on another stream than the step's.
        other = host.execute()
        other.send(cancellations=[cancellation(5, "CANCEL_REASON_DRAINING"), cancellation(99, "CANCEL_REASON_REQUESTED")])
        other.end()
        self.assertEqual("cancelled", stream.end()[0].failure.type)
        self.assertEqual(["timeout", "draining"], seen)

    def test_a_drain_gives_back_what_waits_and_finishes_what_runs(self):
        running, proceed = threading.Event(), threading.Event()

        def only(ctx, _message):
            ctx.heartbeat(0.1)
            ctx.heartbeat(0.5, "half")
            running.set()
            proceed.wait()

        host = self.serve(only, concurrency=1)
        self.addCleanup(proceed.set)
        stream = host.execute()
        stream.send(steps=[new_step(1), new_step(2), new_step(3), new_step(4, step="unheard")])
        results = stream.results()
        # By this answer those before it have been taken in.
        self.assertEqual(4, next(results).id)
        self.assertTrue(running.wait(30))
        other = host.execute()
        other.send(cancellations=[cancellation(3, "CANCEL_REASON_REQUESTED")])
        other.end()
        stream.half_close()
        self.assertEqual((3, "cancelled before it started"), _refusal(next(results)))
        self.assertEqual((2, "plugin is draining"), _refusal(next(results)))
        proceed.set()
        self.assertEqual([(1, "success")], [(r.id, r.WhichOneof("outcome")) for r in results])
        last = stream.heartbeats[-1]
        self.assertEqual((1, 0.5, "half"), (last.id, last.fraction, last.message))

    def test_steps_need_a_configuration_which_is_given_once(self):
        plugin = Plugin("test")
        plugin.step("only")(lambda _ctx, _message: None)
        host = Host(self, plugin)
        with self.assertRaises(grpc.RpcError) as raised:
            host.execute().end()
        self.assertEqual(grpc.StatusCode.FAILED_PRECONDITION, raised.exception.code())
        host.configure()
        with self.assertRaises(grpc.RpcError) as raised:
            host.configure()
        self.assertEqual(grpc.StatusCode.FAILED_PRECONDITION, raised.exception.code())
        self.assertEqual(b"null", host.run().success.output)

    def test_an_id_in_flight_ends_the_stream(self):
        def wait(ctx, _message):
            ctx.sleep(30)

        stream = self.serve(wait).execute()
        stream.send(steps=[new_step(1), new_step(1)])
        with self.assertRaises(grpc.RpcError) as raised:
            list(stream.results())
        self.assertEqual(grpc.StatusCode.INVALID_ARGUMENT, raised.exception.code())

    def test_a_step_that_cannot_be_taken_in_ends_the_stream(self):
        host = self.serve(print)
        with unittest.mock.patch.object(Steps, "admit", side_effect=RuntimeError("no thread")):
            with self.assertLogs("stream"), self.assertRaises(grpc.RpcError) as raised:
                host.run()
        self.assertEqual(grpc.StatusCode.INTERNAL, raised.exception.code())

    def test_a_full_waiting_room_gives_steps_back(self):
        proceed = threading.Event()

        def only(_ctx, _message):
            proceed.wait()

        host = self.serve(only, concurrency=2)
        self.addCleanup(proceed.set)
        stream = host.execute()
        stream.send(steps=[new_step(n + 1) for n in range(1010)])
        stream.half_close()
        results = stream.results()
        refused = [_refusal(next(results))[1] for _ in range(8)]
        self.assertEqual(["plugin is at its concurrency"] * 8, refused)
        proceed.set()
        self.assertEqual(1002, len(list(results)))

    def test_log_lines_say_which_step_they_are_about(self):
        def only(ctx, _message):
            ctx.log.info("looking", at="it")

        host = self.serve(only)
        with self.assertLogs("step") as logs:
            host.run(step="only", attempt=3)
        self.assertEqual([("looking", {"namespace": "ns", "step": "only", "message_id": 7, "attempt": 3, "at": "it"})], [
            (record.getMessage(), record.fields) for record in logs.records])

    def test_the_host_sets_the_level(self):
        host = self.serve(print)
        self.addCleanup(host.set_log_level, "off")
        host.set_log_level("debug")
        self.assertTrue(logging.getLogger("anybody").isEnabledFor(logging.DEBUG))
        host.set_log_level("warn")
        self.assertFalse(logging.getLogger("anybody").isEnabledFor(logging.INFO))

    def test_a_step_that_has_ended_says_no_more(self):
        kept = []

        def only(ctx, _message):
            kept.append(ctx)

        stream = self.serve(only).execute()
        stream.send(steps=[new_step(1)])
        results = stream.results()
        next(results)
        kept[0].heartbeat(1)
        with self.assertRaises(RuntimeError):
            kept[0].emit(1, queue="q")
        stream.half_close()
        self.assertEqual([], list(results))
        self.assertEqual([], stream.heartbeats)

    def test_many_results_travel_in_one_message(self):
        def only(_ctx, _message):
            return "x" * 1000

        stream = self.serve(only).execute()
        stream.send(steps=[new_step(n + 1) for n in range(900)])
        results = list(itertools.islice(stream.results(), 900))
        self.assertEqual(900, len({result.id for result in results}))
        self.assertLess(stream.messages, 900)

    def test_mistakes_in_a_declaration_show_at_once(self):
        plugin = Plugin("test")
        with self.assertRaises(ValueError):
            plugin.run()
        plugin.step("a", default=True)(print)
        for declare in (
            lambda: plugin.step("a"),
            lambda: plugin.step(""),
            lambda: plugin.step("b", default=True),
            lambda: Plugin("test", concurrency=0),
        ):
            with self.assertRaises(ValueError):
                declare()


class Mute(Exception):
    def __str__(self):
        return 1 / 0


def _refusal(result):
    return result.id, result.not_accepted.reason
