"""
Reads a PSKsecrets file: lines of identity:key, the key in hexadecimal or as text, at least 16 bytes.
"""

from __future__ import annotations

import os
import string
from collections.abc import Callable

#: OpenSSL's limits, in bytes.
LONGEST_IDENTITY = 256
LONGEST_KEY = 512
SHORTEST_KEY = 16

Say = Callable[[int, str], None]


class BadSecrets(Exception):
    """The file will not do; the text says why."""


def insecure(path: str) -> bool:
    """Whether others may use the file; OSError if there is none."""
    return bool(os.stat(path).st_mode & 7)


def read_secrets(path: str, say: Say) -> dict[str, bytes]:
    """Return the keys by identity, in the order of the file; say warnings with their level."""
    try:
        warn = insecure(path)
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise BadSecrets(f"{path}: {error.strerror} ({error.errno})") from None
    if warn:
        say(4, f"Insecure file permissions on {path}")
    secrets: dict[str, bytes] = {}
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").splitlines(), 1):
        if line.strip():
            identity, key = _secret(number, line)
            kind = (
                "hexadecimal" if key != line.partition(":")[2].encode("utf-8", "surrogateescape") else "ASCII"
            )
            say(
                7,
                f'PSKsecrets line {number}: {len(key)}-byte {kind} key configured for identity "{identity}"',
            )
            secrets[identity] = key
    say(6, f"PSK identities: {len(secrets)} retrieved")
    return secrets


def _secret(number: int, line: str) -> tuple[str, bytes]:
    where = f"PSKsecrets line {number}"
    identity, colon, text = line.partition(":")
    if not colon:
        raise BadSecrets(f"{where}: Not in identity:key format")
    if len(identity) > LONGEST_IDENTITY:
        raise BadSecrets(f"{where}: Identity longer than {LONGEST_IDENTITY} characters")
    if len(text) % 2 == 0 and text and not set(text) - set(string.hexdigits):
        key = bytes.fromhex(text)
    else:
        key = text.encode("utf-8", "surrogateescape")
    if len(key) > LONGEST_KEY:
        raise BadSecrets(f"{where}: Key longer than {LONGEST_KEY} bytes")
    if len(key) < SHORTEST_KEY:
        raise BadSecrets(f"{where}: Key shorter than {SHORTEST_KEY} bytes")
    return identity, key
