"""
The operators of access logs that tell of TLS, on either side.

They read TlsFacts (meshd.tls.facts) at info.tls, and at info.upstream.tls for the
upstream side.  Lists are joined by commas, as Envoy has them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshd.observe import times
from meshd.observe.operator import OPTIONAL, Maker, Operator, Table, alone
from meshd.observe.values import Getter

TLS: Table = {}

#: What is known of a handshake, or of a certificate; None where there was none.
_Facts = Callable[[Any], Any]


def _downstream(info: Any) -> Any:
    return getattr(info, "tls", None)


def _upstream(info: Any) -> Any:
    return None if info.upstream is None else getattr(info.upstream, "tls", None)


def _peer(info: Any) -> Any:
    facts = _downstream(info)
    return None if facts is None else facts.peer


def _local(info: Any) -> Any:
    facts = _downstream(info)
    return None if facts is None else facts.local


def _upstream_peer(info: Any) -> Any:
    facts = _upstream(info)
    return None if facts is None else facts.peer


def _of(facts: _Facts, attribute: str) -> Getter:
    """Return what tells an attribute of facts: a text, or a tuple of texts; None if it is empty."""

    def value(info: Any) -> str | None:
        found = facts(info)
        if found is None:
            return None
        try:
            told = getattr(found, attribute)
        except ValueError:  # a certificate that is not well-formed
            return None
        return (",".join(told) if told.__class__ is tuple else told) or None

    return value


def _chain(attribute: str) -> Getter:
    """Return what tells an attribute of all certificates that the client sent."""

    def value(info: Any) -> str | None:
        facts = _downstream(info)
        if facts is None:
            return None
        try:
            return ",".join(getattr(each, attribute) for each in facts.peer_chain) or None
        except ValueError:
            return None

    return value


def _time(attribute: str) -> Maker:
    def make(parameter: str, length: int | None) -> Operator:
        write = times.time_format(parameter or times.UTC)

        def value(info: Any) -> str | None:
            peer = _peer(info)
            if peer is None:
                return None
            try:
                return write(getattr(peer, attribute).timestamp())
            except ValueError:
                return None

        return Operator(value)

    return make


for _side, _facts in (("DOWNSTREAM", _downstream), ("UPSTREAM", _upstream)):
    for _name in ("SESSION_ID", "CIPHER", "VERSION"):
        TLS[f"{_side}_TLS_{_name}"] = alone(_of(_facts, _name.lower()))
TLS["UPSTREAM_SERVER_NAME"] = alone(_of(_upstream, "server_name"))

for _side, _facts in (
    ("DOWNSTREAM_PEER", _peer),
    ("DOWNSTREAM_LOCAL", _local),
    ("UPSTREAM_PEER", _upstream_peer),
):
    for _name in ("URI", "DNS", "IP"):
        TLS[f"{_side}_{_name}_SAN"] = alone(_of(_facts, f"{_name.lower()}_sans"))
    TLS[f"{_side}_SUBJECT"] = alone(_of(_facts, "subject"))
for _side, _facts in (("DOWNSTREAM_PEER", _peer), ("DOWNSTREAM_LOCAL", _local)):
    for _name in ("EMAIL", "OTHERNAME"):
        TLS[f"{_side}_{_name}_SAN"] = alone(_of(_facts, f"{_name.lower()}_sans"))
for _side, _facts in (("DOWNSTREAM_PEER", _peer), ("UPSTREAM_PEER", _upstream_peer)):
    TLS[f"{_side}_ISSUER"] = alone(_of(_facts, "issuer"))
    TLS[f"{_side}_CERT"] = alone(_of(_facts, "url_encoded_pem"))

TLS["DOWNSTREAM_PEER_SERIAL"] = alone(_of(_peer, "serial"))
TLS["DOWNSTREAM_PEER_FINGERPRINT_256"] = alone(_of(_peer, "sha256"))
TLS["DOWNSTREAM_PEER_FINGERPRINT_1"] = alone(_of(_peer, "sha1"))
TLS["DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256"] = alone(_chain("sha256"))
TLS["DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1"] = alone(_chain("sha1"))
TLS["DOWNSTREAM_PEER_CHAIN_SERIALS"] = alone(_chain("serial"))
TLS["DOWNSTREAM_PEER_CERT_V_START"] = (OPTIONAL, _time("not_before"))
TLS["DOWNSTREAM_PEER_CERT_V_END"] = (OPTIONAL, _time("not_after"))

# The listener filter tls_inspector leaves these.
TLS["TLS_JA3_FINGERPRINT"] = alone(lambda info: getattr(info, "ja3", None) or None)
TLS["TLS_JA4_FINGERPRINT"] = alone(lambda info: getattr(info, "ja4", None) or None)
