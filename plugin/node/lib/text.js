// Bounds on texts that end up in results and are stored with messages.
export const MAX_NAME = 1 << 10;
export const MAX_MESSAGE = 16 << 10;
export const MAX_STACK = 32 << 10;

/**
 * Makes a text fit to travel: Protocol Buffers refuse what is not UTF-8, which
 * would end the stream for every step on it, and PostgreSQL refuses NUL.
 */
export function cleanText(text, limit) {
  let bytes = Buffer.from(String(text));
  if (bytes.length > limit) {
    let end = limit;
    while (end > 0 && (bytes[end] & 0xc0) === 0x80) end--;
    bytes = bytes.subarray(0, end);
  }
  return bytes.toString().replaceAll('\0', '\ufffd');
}
