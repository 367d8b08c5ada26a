import json
import subprocess
import sys
import unittest

PROGRAM = """
import logging
from stephost import log
log.install()
logging.debug("hidden")
step = log.StepLogger(logging.getLogger("step"), {"attempt": 2})
step.warning("shown", order="A-1", odd={1, 2}.__class__)
log.set_level("debug")
try:
    1 / 0
except ZeroDivisionError:
    step.debug("caught %s", "it", exc_info=True)
"""


class LogTest(unittest.TestCase):
    def test_lines_are_those_of_hclog(self):
        run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
        shown, caught = [json.loads(line) for line in run.stderr.splitlines()]
        self.assertEqual(("warn", "shown", "step"), (shown["@level"], shown["@message"], shown["@module"]))
        self.assertEqual((2, "A-1", "<class 'set'>"), (shown["attempt"], shown["order"], shown["odd"]))
        self.assertEqual(("debug", "caught it"), (caught["@level"], caught["@message"]))
        self.assertIn("ZeroDivisionError", caught["stack"])
