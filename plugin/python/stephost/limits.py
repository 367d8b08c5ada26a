"""The protocol's limits; docs/protocol.md says why."""

# The largest gRPC message in either direction.
MAX_MESSAGE_BYTES = 257 << 20
# How many results travel in one message.
MAX_BATCH_RESULTS = 1000
# Where a batch is closed; a single larger result travels alone.
MAX_BATCH_BYTES = 1 << 20
# What one result may carry: a message, with room for the envelope.
MAX_RESULT_BYTES = MAX_MESSAGE_BYTES - (64 << 10)
