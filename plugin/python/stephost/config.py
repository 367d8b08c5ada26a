"""The plugin's config block: its schema, its value, and complaints about it."""

import dataclasses
import json
import re
from typing import Any

from . import messages
from .errors import FieldError
from .text import MAX_MESSAGE, MAX_NAME, clean_text


@dataclasses.dataclass(frozen=True)
class Attribute:
    """One attribute of the config block.

    type is "string", "number", "bool", "duration", or another type in cty's
    JSON notation: ["list", "string"], ["map", "number"]. A duration is written
    as "1m30s" by the user and arrives in seconds. default is a value as the
    user would write it. A secret is shown nowhere by the host.
    """

    type: Any
    default: Any = None
    required: bool = False
    secret: bool = False
    description: str = ""


def schema_of(declared):
    """Returns the schema of a dict of attributes, by name."""
    block = messages.ConfigBlock()
    for name, attribute in declared.items():
        duration = attribute.type == "duration"
        if duration and attribute.default is not None:
            parse_duration(attribute.default)
        block.attributes.add(
            name=name,
            type=json.dumps("string" if duration else attribute.type).encode(),
            required=attribute.required,
            default=b"" if attribute.default is None else json.dumps(attribute.default).encode(),
            secret=attribute.secret,
            description=attribute.description,
            duration=duration,
        )
    return block


def decode_config(declared, raw):
    """Decodes the value of the block, a dict by attribute."""
    if not declared or not raw:
        return {}
    config = json.loads(raw)
    if not isinstance(config, dict):
        raise TypeError("the configuration is not an object")
    for name, attribute in declared.items():
        if attribute.required and config.get(name) is None:
            raise FieldError(name, f"{name} is required")
        if attribute.type == "duration" and config.get(name) is not None:
            try:
                config[name] = parse_duration(config[name])
            except ValueError as error:
                raise FieldError(name, str(error)) from error
    return config


_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_PART = r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)"


def parse_duration(text):
    """Reads a Go duration, like "1m30s", as seconds."""
    match = re.fullmatch(rf"([+-]?)(0|(?:{_PART})+)", text if isinstance(text, str) else "")
    if not match:
        raise ValueError(f'not a duration like "30s" or "1m30s": {text!r}')
    seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, match[2]))
    return -seconds if match[1] == "-" else seconds


def diagnose(error):
    """Turns what setup raised into diagnostics, one for each field it names."""
    return [_diagnostic(one) for one in getattr(error, "exceptions", (error,))]


def _diagnostic(error):
    field = isinstance(error, FieldError)
    return messages.Diagnostic(
        severity=messages.number("Severity", "SEVERITY_ERROR"),
        summary="Plugin rejects a value" if field else "Plugin cannot be set up",
        detail=clean_text(str(error) or type(error).__name__, MAX_MESSAGE),
        path=parse_path(error.path) if field else [],
    )


def parse_path(text):
    """Reads a path like `servers[0].port` or `limits["eu"]`."""
    path = []
    for name, index, key in re.findall(r'([^.\[\]]+)|\[(\d+)\]|\["([^"]*)"\]', text):
        if name:
            path.append(messages.PathStep(attribute=clean_text(name, MAX_NAME)))
        elif index:
            path.append(messages.PathStep(index=int(index)))
        else:
            path.append(messages.PathStep(key=clean_text(key, MAX_NAME)))
    return path
