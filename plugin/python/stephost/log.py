"""Logging: one line of hclog's JSON per record on stderr.

The host reads level, message and fields from it. What goes through the standard
library's logging, by anybody, comes out this way.
"""

import datetime
import json
import logging
import sys

_TRACE = 5
_LEVELS = {
    "trace": _TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL + 1,
}


def install():
    """Makes the root logger write for the host."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)


def set_level(name):
    """Sets the level from which the host wants lines."""
    if name in _LEVELS:
        logging.getLogger().setLevel(_LEVELS[name])


class _Formatter(logging.Formatter):
    def format(self, record):
        line = {
            "@level": _level_name(record.levelno),
            "@message": record.getMessage(),
            "@timestamp": datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc).isoformat(),
            "@module": record.name,
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["stack"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _level_name(number):
    for name in ("error", "warn", "info", "debug"):
        if number >= _LEVELS[name]:
            return name
    return "trace"


class StepLogger(logging.LoggerAdapter):
    """A logger whose keyword arguments are fields: log.info("sent", to=address)."""

    _OWN = ("exc_info", "stack_info", "stacklevel", "extra")

    def process(self, msg, kwargs):
        own = {key: kwargs[key] for key in self._OWN if key in kwargs}
        fields = {key: value for key, value in kwargs.items() if key not in self._OWN}
        own["extra"] = {**own.get("extra", {}), "fields": {**self.extra, **fields}}
        return msg, own
