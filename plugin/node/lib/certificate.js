import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';

/**
 * Makes a key and a self-signed certificate for localhost, which is all that
 * go-plugin's AutoMTLS asks of a plugin. Node.js reads certificates but does
 * not make them, so this writes the few bytes of DER itself.
 *
 * @returns {{ key: Buffer, cert: Buffer, der: Buffer }} key and cert as PEM
 */
export function selfSigned(now = new Date()) {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = sequence(set(sequence(oid(2, 5, 4, 3), utf8String('localhost'))));
  const serial = randomBytes(16);
  serial[0] = (serial[0] & 0x7f) | 0x40; // positive, and of full length
  const days = (n) => new Date(now.getTime() + n * 86400e3);
  const tbs = sequence(
    tagged(0, integer(2)), // version 3
    tlv(0x02, serial),
    ECDSA_SHA256,
    name,
    sequence(utcTime(days(-1)), utcTime(days(9 * 365))),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(3, sequence(
      extension(oid(2, 5, 29, 19), true, sequence(TRUE)), // a CA: the host takes it as its own issuer
      extension(oid(2, 5, 29, 17), false, sequence(tlv(0x82, Buffer.from('localhost')))),
    )),
  );
  const signature = sign('sha256', tbs, privateKey);
  const der = sequence(tbs, ECDSA_SHA256, bitString(signature));
  return {
    key: Buffer.from(privateKey.export({ type: 'pkcs8', format: 'pem' })),
    cert: Buffer.from(pem('CERTIFICATE', der)),
    der,
  };
}

/**
 * Writes bytes as PEM (RFC 7468). No line is empty, whatever the length:
 * OpenSSL refuses the block otherwise, and the length varies with the
 * signature's.
 *
 * @param {string} label
 * @param {Buffer} der
 */
export function pem(label, der) {
  const lines = der.toString('base64').match(/.{1,64}/g);
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}

function tlv(tag, ...contents) {
  const body = Buffer.concat(contents);
  const n = body.length;
  const length = n < 0x80 ? [n] : n < 0x100 ? [0x81, n] : [0x82, n >> 8, n & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

const sequence = (...items) => tlv(0x30, ...items);
const set = (...items) => tlv(0x31, ...items);
const tagged = (number, item) => tlv(0xa0 + number, item);
const integer = (small) => tlv(0x02, Buffer.from([small]));
const utf8String = (text) => tlv(0x0c, Buffer.from(text));
const bitString = (bytes) => tlv(0x03, Buffer.from([0]), bytes);
const extension = (id, critical, value) => sequence(id, ...(critical ? [TRUE] : []), tlv(0x04, value));
// UTCTime has two digits for the year, which is enough until 2049.
const utcTime = (t) => tlv(0x17, Buffer.from(t.toISOString().replace(/\.\d+/, '').replace(/[-:T]/g, '').slice(2)));

function oid(first, second, ...rest) {
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const digits = [arc & 0x7f];
    for (let left = arc >> 7; left > 0; left >>= 7) digits.unshift((left & 0x7f) | 0x80);
    bytes.push(...digits);
  }
  return tlv(0x06, Buffer.from(bytes));
}

const TRUE = tlv(0x01, Buffer.from([0xff]));
const ECDSA_SHA256 = sequence(oid(1, 2, 840, 10045, 4, 3, 2));
