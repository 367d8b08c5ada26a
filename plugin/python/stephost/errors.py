"""The errors that say more than "it failed", raised by handlers and by setup."""


class Permanent(Exception):
    """No attempt would succeed: the message is dead-lettered now."""


class RetryAfter(Exception):
    """A failed attempt whose next one should come after a delay.

    delay is in seconds; negative counts as 0.
    """

    def __init__(self, message, delay):
        super().__init__(message)
        self.delay = delay


class Snooze(Exception):
    """The step cannot run yet: no failure, no attempt spent.

    delay is in seconds; negative counts as 0.
    """

    def __init__(self, delay):
        super().__init__(f"snoozed for {delay} s")
        self.delay = delay


class FieldError(Exception):
    """Raised by setup to point the user at the line of an attribute.

    path is written like `endpoint`, `servers[0]` or `limits["eu"]`. Several go
    into an ExceptionGroup.
    """

    def __init__(self, path, message):
        super().__init__(message)
        self.path = path


class Cancelled(Exception):
    """The step must stop: its time is up, or the host asks for it.

    reason is "timeout", "lease_lost", "draining" or "requested".
    """

    _EXPLANATIONS = {
        "timeout": "step timed out",
        "lease_lost": "lease on the message was lost",
        "draining": "host is draining",
        "requested": "step was cancelled",
    }

    def __init__(self, reason):
        super().__init__(self._EXPLANATIONS[reason])
        self.reason = reason
