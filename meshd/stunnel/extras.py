"""
What stunnel's users miss: options in comments, which stunnel itself does not see.

    ; meshd: admin = 127.0.0.1:9901

stands before the first section; those of a service also in one, or before the
first for all of them.  On the command line: ``--admin=127.0.0.1:9901``.
"""

from __future__ import annotations

from collections.abc import Callable

from meshd.stunnel import values
from meshd.stunnel.values import Bad

Read = Callable[[str], object]

#: How ``balance`` calls the policies over connect lines, and how Envoy does.
POLICIES = {
    "round_robin": "ROUND_ROBIN",
    "least_request": "LEAST_REQUEST",
    "random": "RANDOM",
    "ring_hash": "RING_HASH",
    "maglev": "MAGLEV",
}


def where(value: str) -> tuple[str, int]:
    """Read host:port."""
    try:
        address = values.address(value, "127.0.0.1")
    except Bad:
        raise Bad("The argument needs to be [HOST:]PORT") from None
    if address.path:
        raise Bad("The argument needs to be [HOST:]PORT")
    return address.host, address.port


def protocols(value: str) -> list[str]:
    """Read ALPN names with commas between them."""
    names = [name.strip() for name in value.split(",")]
    if not all(0 < len(name.encode()) < 256 for name in names):
        raise Bad("The argument needs to be names of protocols with commas between them")
    return names


def _choice(*words: str) -> Read:
    text = " or ".join(f"'{word}'" for word in words)
    return values.one_of(words, f"The argument needs to be {text}")


GLOBAL_EXTRAS: dict[str, Read] = {
    # The admin page, with /stats/prometheus.
    "admin": where,
    # How a line of the log looks.
    "log": _choice("text", "json"),
    # How many clients there may be at a time.
    "max_clients": values.number("The argument needs to be a number", 1),
}

SERVICE_EXTRAS: dict[str, Read] = {
    # The protocols that are offered in the TLS handshake.
    "alpn": protocols,
    # The balancing policy over the connect lines, instead of failover.
    "balance": _choice(*POLICIES),
    # once: names are looked up at the start; follow: again whenever the answer's time to live is over.
    "dns": _choice("once", "follow"),
    # The PROXY header that clients send first.
    "accept_proxy": values.yes_no,
    # The PROXY header that is sent to where connect says, before anything else.
    "send_proxy": _choice("v1", "v2"),
    # Certificates are read anew when their files change.
    "watch": values.yes_no,
}
