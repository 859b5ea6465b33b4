"""
Pre-shared keys: secrets by identity, from a config or a file as stunnel has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from meshd.tls.openssl import Ssl

#: The shortest secret, in bytes, and the longest that OpenSSL takes.
SHORTEST = 16
LONGEST = 256


class BadSecrets(ValueError):
    """Pre-shared keys that cannot be used, and why."""


class Secrets:
    """The secrets of one context."""

    def __init__(self, secrets: Mapping[bytes, bytes], identity: bytes = b"") -> None:
        """identity is what a client offers; empty: the first.  Raise BadSecrets."""
        if not secrets:
            raise BadSecrets("there are no pre-shared keys")
        for name, secret in secrets.items():
            if len(secret) < SHORTEST:
                raise BadSecrets(f"the key of {name.decode('utf-8', 'replace')!r} is shorter than 16 bytes")
            if len(secret) > LONGEST:
                raise BadSecrets(f"the key of {name.decode('utf-8', 'replace')!r} is longer than 256 bytes")
        if identity and identity not in secrets:
            raise BadSecrets(f"there is no key of {identity.decode('utf-8', 'replace')!r}")
        self._secrets = dict(secrets)
        chosen = identity or next(iter(secrets))
        #: Identity and secret that a client offers.
        self.offered = (chosen, secrets[chosen])

    def find(self, ssl: Ssl, identity: bytes) -> bytes | None:
        """Return the secret of an identity, None if there is none."""
        return self._secrets.get(identity)


def read_lines(text: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield identity and secret of each line identity:secret.  Raise BadSecrets."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        identity, colon, secret = line.partition(":")
        if not colon or not identity:
            raise BadSecrets(f"line {number}: expected identity:key")
        yield identity.encode(), read_secret(secret)


def read_secret(text: str) -> bytes:
    """Return a secret: what hexadecimal digits say if they are 16 bytes or more, else the text itself."""
    if len(text) >= 2 * SHORTEST:
        try:
            return bytes.fromhex(text)
        except ValueError:
            pass
    return text.encode()
