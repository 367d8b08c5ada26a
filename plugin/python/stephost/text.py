"""Makes texts fit to travel."""

# Bounds on texts that end up in results and are stored with messages.
MAX_NAME = 1 << 10
MAX_MESSAGE = 16 << 10
MAX_STACK = 32 << 10


def clean_text(text, limit):
    """Cuts a text at limit bytes and takes out what cannot travel.

    Protocol Buffers refuse lone surrogates, and PostgreSQL refuses NUL.
    """
    encoded = str(text).encode("utf-8", "replace")[:limit]
    return encoded.decode("utf-8", "ignore").replace("\0", "\ufffd")
