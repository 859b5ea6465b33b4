"""
Every certificate that is in use: for /certs, and for the gauges of their expiry.

Each context enters itself once, and shows what it uses whenever that changes.
The gauges are Envoy's: ssl.certificate.<name>.expiration_unix_time_seconds of
the listener or cluster, where name is that of the secret, or as Envoy calls what
has none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from meshd.interfaces import IGauge, IScope
from meshd.tls.certificates import Credential
from meshd.tls.facts import CertificateFacts
from meshd.tls.ocsp import Response
from meshd.tls.validation import Validation

#: What there is to be said if there is no certificate: Envoy's greatest number.
NEVER = 2**32 - 1
#: Envoy names what has no name by the hash of that.
UNNAMED, UNNAMED_CA = "unnamed_cert_e3b0c442", "unnamed_ca_cert_e3b0c442"
DAY = 86400


class Shown(NamedTuple):
    """One certificate: where it is from, what it says, and its OCSP response (DER)."""

    path: str
    facts: CertificateFacts
    staple: bytes | None = None

    @property
    def expires(self) -> int:
        """When it is valid no more, in seconds since the epoch."""
        return int(self.facts.not_after.timestamp())

    def days(self, now: float) -> int:
        """How many whole days it is valid yet."""
        return max(0, int(self.expires - now)) // DAY


class Entry:
    """What one context uses."""

    def __init__(self, registry: Registry, scope: IScope) -> None:
        self._registry = registry
        self._scope = scope
        self._credentials: Sequence[Credential] = ()
        self.trusted: Sequence[Shown] = ()
        self._gauges: dict[str, IGauge] = {}

    @property
    def certificates(self) -> list[Shown]:
        """The context's own certificates, with the staples as they are now."""
        return [Shown(each.name, each.facts, each.staple) for each in self._credentials]

    def show(self, credentials: Iterable[Credential], validation: Validation | None, name: str = "") -> None:
        """
        Note what the context uses from now on.

        name is what SDS calls its validation, empty if that has no name.
        """
        self._credentials = tuple(credentials)
        self.trusted = ()
        if validation is not None:
            source = validation.settings.source
            self.trusted = [Shown(source, facts) for facts in validation.trusted_facts]
        self._tell(name)

    def _tell(self, name: str) -> None:
        """Set the gauges: of several under one name the first to expire counts."""
        ends: dict[str, list[int]] = {}
        for credential, shown in zip(self._credentials, self.certificates, strict=True):
            ends.setdefault(credential.secret or UNNAMED, []).append(shown.expires)
        for shown in self.trusted:
            ends.setdefault(name or UNNAMED_CA, []).append(shown.expires)
        for each, times in ends.items():
            if each not in self._gauges:
                self._gauges[each] = self._scope.gauge(f"ssl.certificate.{each}.expiration_unix_time_seconds")
            self._gauges[each].set(min(times))

    def leave(self) -> None:
        """Show nothing any more: the context is gone."""
        self._credentials, self.trusted = (), ()
        self._registry.remove(self)


class Registry:
    """The contexts of a worker, in the order of the config."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._entries: list[Entry] = []

    def enter(self, scope: IScope) -> Entry:
        """Return the entry of a context; scope is that of its listener or cluster."""
        entry = Entry(self, scope)
        self._entries.append(entry)
        return entry

    def remove(self, entry: Entry) -> None:
        """Forget a context."""
        self._entries.remove(entry)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def days_until_first_expires(self) -> int:
        """Return in how many whole days the first certificate expires; NEVER if there is none."""
        now = self.clock()
        days = (each.days(now) for entry in self for each in (*entry.trusted, *entry.certificates))
        return min(days, default=NEVER)

    def seconds_until_first_staple_expires(self) -> int:
        """Return in how many seconds the first OCSP response is old; 0 if there is none, or it is."""
        now = self.clock()
        ends = (
            response.next_update.timestamp() if response.next_update is not None else now
            for entry in self
            for each in entry.certificates
            if each.staple is not None and (response := Response(each.staple))
        )
        return max(0, int(min(ends, default=now) - now))
