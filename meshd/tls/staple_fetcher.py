"""
Fetches the OCSP responses that are stapled to our own certificates, and keeps them fresh.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from meshd.tls.certificates import Credential
from meshd.tls.ocsp import GOOD, now
from meshd.tls.ocsp_client import OcspClient, Verdict

log = Logger(namespace="meshd.tls")

#: Seconds: after a failure; between two looks at the least, and at the most.
RETRY, SOONEST, LATEST = 300.0, 60.0, 86400.0


class StapleFetcher:
    """Keeps the responses of some certificates fresh; clock is an IReactorTime."""

    def __init__(self, client: OcspClient, clock: Any) -> None:
        self._client = client
        self._clock = clock
        self._kept: dict[Credential, _Kept] = {}

    def keep(self, credentials: Sequence[Credential]) -> None:
        """Keep the responses of these fresh, and of no others."""
        for gone in set(self._kept) - set(credentials):
            self._kept.pop(gone).stop()
        for credential in credentials:
            if credential not in self._kept:
                self._kept[credential] = _Kept(credential, self._client, self._clock)


class _Kept:
    """The response of one certificate."""

    def __init__(self, credential: Credential, client: OcspClient, clock: Any) -> None:
        self._credential = credential
        self._client = client
        self._clock = clock
        self._asking: Deferred[Verdict] | None = None
        # Not at once: nothing is asked while a config is only read.
        self._call = clock.callLater(0, self._ask)

    def stop(self) -> None:
        """Ask no more."""
        if self._call.active():
            self._call.cancel()
        if self._asking is not None:
            self._asking.cancel()

    def _ask(self) -> None:
        credential = self._credential
        if not credential.chain:
            log.warn(
                "{name}: no OCSP response can be fetched without the issuer's certificate", name=self._name
            )
            return
        self._asking = self._client.check(credential.certificate, credential.chain[0])
        self._asking.addBoth(self._answered)

    @property
    def _name(self) -> str:
        return self._credential.facts.subject

    def _answered(self, verdict: Any) -> None:
        self._asking = None
        if not isinstance(verdict, Verdict):
            return  # It was cancelled.
        if verdict.response is None or verdict.status != GOOD:
            log.warn(
                "{name}: no good OCSP response: {reason}",
                name=self._name,
                reason=verdict.reason or f"{verdict.url} says {verdict.status}",
            )
            self._again(RETRY)
            return
        self._credential.staple = verdict.response.data
        self._again(self._half_life(verdict.response.next_update))

    @staticmethod
    def _half_life(until: datetime | None) -> float:
        """Return in how many seconds half of the time is over that a response is good yet."""
        if until is None:
            return LATEST
        return min(max((until - now()).total_seconds() / 2, SOONEST), LATEST)

    def _again(self, delay: float) -> None:
        self._call = self._clock.callLater(delay, self._ask)
