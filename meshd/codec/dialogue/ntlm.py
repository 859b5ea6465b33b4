"""
The NTLM messages that a proxy may want (Microsoft's MS-NLMP).

NTLM version 1, OEM character set, without session security: what the oldest
proxies take, and as weak as that.
"""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode
from binascii import Error as NotBase64

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from meshd.codec.dialogue.script import Failed

_SIGNATURE = b"NTLMSSP\0"
#: NEGOTIATE_OEM and NEGOTIATE_NTLM.
_FLAGS = 0x0202
_HEAD = 64

#: NEGOTIATE_MESSAGE (MS-NLMP section 2.2.1.1), as base64: it says nothing but the flags.
NEGOTIATE = b64encode(_SIGNATURE + struct.pack("<II", 1, _FLAGS) + bytes(16))


def authenticate(challenge: bytes, domain: str, username: str, password: str) -> bytes:
    """
    Return the AUTHENTICATE_MESSAGE (section 2.2.1.3) for a CHALLENGE_MESSAGE, both as base64.

    Raise Failed if the challenge is none.
    """
    try:
        message = b64decode(challenge, validate=True)
    except NotBase64:
        raise Failed("the NTLM challenge is no base64") from None
    if len(message) < 32 or message[:12] != _SIGNATURE + b"\x02\0\0\0":
        raise Failed("the NTLM challenge is malformed")
    parts = (
        b"",
        response(password, message[24:32]),
        domain.encode("utf-8"),
        username.encode("utf-8"),
        b"",
        b"",
    )
    end = _HEAD + sum(map(len, parts))
    head, at = b"", _HEAD
    for part in parts:
        head += struct.pack("<HHI", len(part), len(part), at if part else end)
        at += len(part)
    return b64encode(_SIGNATURE + struct.pack("<I", 3) + head + struct.pack("<I", _FLAGS) + b"".join(parts))


def response(password: str, challenge: bytes) -> bytes:
    """Return the 24 bytes of the NTLM version 1 response (section 3.3.1) to a challenge of 8."""
    key = md4(password.encode("utf-16-le")) + bytes(5)
    return b"".join(_des(key[at : at + 7], challenge) for at in (0, 7, 14))


def _des(key: bytes, block: bytes) -> bytes:
    """Encrypt 8 bytes with a DES key of 56 bits, to which parity bits (0) are added."""
    bits = int.from_bytes(key, "big")
    spread = bytes((bits >> shift & 0x7F) << 1 for shift in range(49, -1, -7))
    # DES is 3DES with one key.
    cipher = Cipher(TripleDES(spread * 3), modes.ECB()).encryptor()
    return bytes(cipher.update(block) + cipher.finalize())


_ROUNDS = (
    (lambda x, y, z: x & y | ~x & z, 0, tuple(range(16)), (3, 7, 11, 19)),
    (
        lambda x, y, z: x & y | x & z | y & z,
        0x5A827999,
        tuple(4 * (at % 4) + at // 4 for at in range(16)),
        (3, 5, 9, 13),
    ),
    (
        lambda x, y, z: x ^ y ^ z,
        0x6ED9EBA1,
        (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15),
        (3, 9, 11, 15),
    ),
)


def md4(data: bytes) -> bytes:
    """Return the MD4 digest (RFC 1320), which OpenSSL has no more."""
    state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476]
    padded = data + b"\x80" + bytes((55 - len(data)) % 64) + struct.pack("<Q", 8 * len(data))
    for start in range(0, len(padded), 64):
        words = struct.unpack_from("<16I", padded, start)
        a, b, c, d = state
        for mix, constant, order, shifts in _ROUNDS:
            for step, word in enumerate(order):
                total = a + mix(b, c, d) + words[word] + constant & 0xFFFFFFFF
                shift = shifts[step % 4]
                a, b, c, d = d, (total << shift | total >> 32 - shift) & 0xFFFFFFFF, b, c
        state = [old + new & 0xFFFFFFFF for old, new in zip(state, (a, b, c, d), strict=True)]
    return struct.pack("<4I", *state)
