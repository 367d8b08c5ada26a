// The protocol's limits; docs/protocol.md says why.

/** The largest gRPC message in either direction. */
export const MAX_MESSAGE_BYTES = 257 << 20;
/** How many results travel in one message. */
export const MAX_BATCH_RESULTS = 1000;
/** Where a batch is closed; a single larger result travels alone. */
export const MAX_BATCH_BYTES = 1 << 20;
/** What one result may carry: a message, with room for the envelope. */
export const MAX_RESULT_BYTES = MAX_MESSAGE_BYTES - (64 << 10);
/** What a result or an emitted message occupies beside its texts and bodies. */
export const MEMBER_OVERHEAD = 64;
