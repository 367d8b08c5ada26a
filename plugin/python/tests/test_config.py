import json
import unittest

from stephost import Attribute, FieldError, Plugin
from stephost.config import parse_duration, parse_path

from .harness import Host


class Group(Exception):
    """Has what an ExceptionGroup has, which Python knows from 3.11 on."""

    def __init__(self, exceptions):
        super().__init__("several")
        self.exceptions = exceptions


class ConfigTest(unittest.TestCase):
    def serve(self, config=None, setup=None):
        plugin = Plugin("test", config=config)
        plugin.step("only")(lambda ctx, _message: ctx.app)
        if setup:
            plugin.setup(setup)
        return Host(self, plugin)

    def test_the_declared_attributes_are_the_schema(self):
        key, wait, sizes = self.serve({
            "key": Attribute("string", required=True, secret=True),
            "wait": Attribute("duration", default="5s"),
            "sizes": Attribute(["list", "number"], description="all of them"),
        }).describe().config.attributes
        self.assertEqual(("key", b'"string"', True, True, b""), (key.name, key.type, key.required, key.secret, key.default))
        self.assertEqual((b'"string"', True, b'"5s"'), (wait.type, wait.duration, wait.default))
        self.assertEqual((b'["list", "number"]', False, "all of them"), (sizes.type, sizes.duration, sizes.description))

    def test_setup_makes_what_handlers_get(self):
        config = {"wait": Attribute("duration"), "none": Attribute("duration")}
        host = self.serve(config, lambda given: {**given, "more": 1})
        host.configure({"wait": "1m1.5s", "none": None})
        self.assertEqual({"wait": 61.5, "none": None, "more": 1}, json.loads(host.run().success.output))

    def test_what_setup_raises_points_at_the_lines(self):
        def complaints(error):
            def setup(_config):
                raise error

            return [
                (d.severity, d.detail, [getattr(p, p.WhichOneof("selector")) for p in d.path])
                for d in self.serve(None, setup).configure()
            ]

        self.assertEqual([(1, "no way", [])], complaints(OSError("no way")))
        several = Group([FieldError("a", "bad"), FieldError("b[2].c", "worse")])
        self.assertEqual([(1, "bad", ["a"]), (1, "worse", ["b", 2, "c"])], complaints(several))

    def test_a_host_of_another_opinion(self):
        config = {"wait": Attribute("duration"), "key": Attribute("string", required=True)}
        for given, path in (({"key": "k", "wait": 5}, "wait"), ({"wait": "5s"}, "key")):
            (diagnostic,) = self.serve(config).configure(given)
            self.assertEqual(path, diagnostic.path[0].attribute)

    def test_paths(self):
        kinds = [(p.WhichOneof("selector"), getattr(p, p.WhichOneof("selector"))) for p in parse_path('limits["eu.west"].max[0]')]
        self.assertEqual([("attribute", "limits"), ("key", "eu.west"), ("attribute", "max"), ("index", 0)], kinds)

    def test_durations_are_those_of_go(self):
        for text, seconds in (("0", 0), ("5s", 5), ("1h2m3.5s", 3723.5), ("-250ms", -0.25), (".5m", 30), ("3µs", 3e-6)):
            self.assertAlmostEqual(seconds, parse_duration(text), msg=text)
        for text in ("", "5", "s", "5 s", "1d", "5sx", "x5s", "+", 5, None):
            with self.assertRaises(ValueError, msg=text):
                parse_duration(text)
