"""SDK for stephost plugins.

A plugin is a program with a function for each kind of step; `Plugin.run`
serves them inside a host. README.md beside this package shows one.
"""

from .config import Attribute
from .errors import Cancelled, FieldError, Permanent, RetryAfter, Snooze
from .plugin import Plugin
from .task import Context, Info

__all__ = [
    "Attribute",
    "Cancelled",
    "Context",
    "FieldError",
    "Info",
    "Permanent",
    "Plugin",
    "RetryAfter",
    "Snooze",
]
