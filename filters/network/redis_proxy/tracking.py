"""The commands about CLIENT TRACKING; tracked does what they say."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from attrs import evolve

from meshd.codec.resp_reply import Map, Set, encode
from meshd.filters.network.redis_proxy.local import OK
from meshd.filters.network.redis_proxy.request import Slot
from meshd.filters.network.redis_proxy.tracked import Terms, Tracking

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.table import Entry

_SYNTAX = b"-ERR syntax error\r\n"
_NO_CLIENT = b"-ERR The client ID you want redirect to does not exist\r\n"
_ONE_CLIENT = b"-ERR A client can only redirect to a single other client\r\n"
_NOT_A_NUMBER = b"-ERR value is not an integer or out of range\r\n"
_NEEDS_BCAST = b"-ERR PREFIX option requires BCAST mode to be enabled\r\n"
_BCAST_IS = (
    b"-ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then"
    b" re-enabling it with a different mode.\r\n"
)
_NOT_WITH_BCAST = b"-ERR OPTIN and OPTOUT are not compatible with BCAST\r\n"
_NOT_BOTH = b"-ERR You can't specify both OPTIN mode and OPTOUT mode\r\n"
_OPT_IS = (
    b"-ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then"
    b" re-enabling it with a different mode.\r\n"
)
_OVERLAPS = (
    b"-ERR Prefix '%b' overlaps with %b prefix '%b'. Prefixes for a single client must not overlap.\r\n"
)
_NOT_CACHING = (
    b"-ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode"
    b" enabled\r\n"
)
_ONLY_IN = b"-ERR CLIENT CACHING %b is only valid when tracking is enabled in %b mode.\r\n"

# Where the proxy can less than Redis.
_NOBODY_TOLD = (
    b"-ERR Tracking can be enabled only when the connection is using RESP3 or with the REDIRECT option\r\n"
)
_WATCHES = b"-ERR CLIENT TRACKING is not supported by the proxy while keys are watched\r\n"
_REDIRECT_IS = (
    b"-ERR The proxy can't switch REDIRECT on/off before disabling tracking for this client, and then"
    b" re-enabling it.\r\n"
)
_LOSSY = (
    b"-ERR CLIENT TRACKING is not supported by the proxy: it removes the prefix '%b', in whatever case, and"
    b" servers tell of keys without it\r\n"
)


def _read(client: Client, words: Sequence[bytes]) -> Terms | bytes:
    """Return what the options of CLIENT TRACKING say, or an error."""
    flags: dict[str, bool] = {}
    prefixes: list[bytes] = []
    redirect = 0
    rest = list(words)
    while rest:
        word = rest.pop(0).upper()
        if word in (b"BCAST", b"OPTIN", b"OPTOUT", b"NOLOOP"):
            flags[word.decode().lower()] = True
        elif word == b"PREFIX" and rest:
            prefixes.append(rest.pop(0))
        elif word == b"REDIRECT" and rest:
            if redirect:
                return _ONE_CLIENT
            text = rest.pop(0)
            if not text.removeprefix(b"-").isdigit() or len(text) > 19:
                return _NOT_A_NUMBER
            redirect = int(text)
            target = client.shared.clients.get(redirect)
            if target is None or target.gone:
                return _NO_CLIENT
        else:
            return _SYNTAX
    return Terms(prefixes=tuple(prefixes), redirect=redirect, **flags)


def _conflict(new: Terms, old: Terms | None) -> bytes:
    """Return the error if what is said does not fit together, or not to what holds; in Redis's order."""
    if new.prefixes and not new.bcast:
        return _NEEDS_BCAST
    if old is not None and old.bcast != new.bcast:
        return _BCAST_IS
    if new.bcast and (new.optin or new.optout):
        return _NOT_WITH_BCAST
    if new.optin and new.optout:
        return _NOT_BOTH
    if old is not None and ((new.optin and old.optout) or (new.optout and old.optin)):
        return _OPT_IS
    for index, prefix in enumerate(new.prefixes):
        for kind, others in (
            (b"an existing", () if old is None else old.prefixes),
            (b"another provided", new.prefixes[index + 1 :]),
        ):
            for other in others:
                if prefix.startswith(other) or other.startswith(prefix):
                    return _OVERLAPS % (prefix, kind, other)
    return b""


def tracking(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    """CLIENT TRACKING."""
    terms = _read(client, arguments[3:])
    mode = arguments[2].upper()
    if isinstance(terms, bytes):
        client.reply(terms)
    elif mode not in (b"ON", b"OFF"):
        client.reply(_SYNTAX)
    elif client.transaction is not None:
        client.reply(_WATCHES)
    elif mode == b"OFF":
        client.when_idle(partial(_stop, client))
    else:
        error = _refusal(client, terms)
        if error:
            client.reply(error)
        else:
            client.when_idle(partial(_start, client, entry, terms))


def _refusal(client: Client, terms: Terms) -> bytes:
    old = None if client.private is None else client.private.terms
    error = _conflict(terms, old)
    lossy = client.shared.routes.lossy
    if error:
        return error
    if client.protocol == 2 and not terms.redirect:
        return _NOBODY_TOLD
    if old is not None and bool(old.redirect) != bool(terms.redirect):
        return _REDIRECT_IS
    return b"" if lossy is None else _LOSSY % lossy.prefix


def _stop(client: Client) -> None:
    client.reset_private()
    client.choose_flavour()
    _finish(client, b"")


def _start(client: Client, entry: Entry, terms: Terms) -> None:
    """Give the client connections on which the servers keep book."""
    old = client.private
    if old is not None and not terms.bcast:
        old.renew(terms, entry)
        _finish(client, b"")
        return
    if terms.bcast:
        before = () if old is None else old.terms.prefixes
        terms = evolve(terms, prefixes=(*before, *(terms.prefixes or (b"",))))
    new = Tracking(client, terms)
    new.begin(entry, partial(_started, client, new))


def _started(client: Client, new: Tracking, error: bytes) -> None:
    if client.gone:
        new.end()
        return
    if not error:
        client.reset_private()
        client.private = new
        client.choose_flavour()
    _finish(client, error)


def _finish(client: Client, error: bytes) -> None:
    client.queue.append(Slot(error or OK))
    client.release()


def caching(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    """CLIENT CACHING."""
    terms = None if client.private is None else client.private.terms
    word = arguments[2].upper()
    if terms is None or client.private is None:
        client.reply(_NOT_CACHING)
    elif word not in (b"YES", b"NO"):
        client.reply(_SYNTAX)
    elif word == b"YES" and not terms.optin:
        client.reply(_ONLY_IN % (b"YES", b"OPTIN"))
    elif word == b"NO" and not terms.optout:
        client.reply(_ONLY_IN % (b"NO", b"OPTOUT"))
    else:
        client.reply(OK)
        client.private.cache_next()


def tracking_info(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    """CLIENT TRACKINGINFO."""
    private = client.private
    terms = Terms() if private is None else private.terms
    flags = {
        b"off": private is None,
        b"on": private is not None,
        b"bcast": terms.bcast,
        b"optin": terms.optin,
        b"caching-yes": terms.optin and private is not None and private.caching,
        b"optout": terms.optout,
        b"caching-no": terms.optout and private is not None and private.caching,
        b"noloop": terms.noloop,
        b"broken_redirect": private is not None and private.broken,
    }
    facts = [
        (b"flags", Set(name for name, holds in flags.items() if holds)),
        (b"redirect", _redirect(client)),
        (b"prefixes", list(terms.prefixes)),
    ]
    client.reply(encode(Map(facts), client.protocol))


def redirection(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    """CLIENT GETREDIR."""
    client.reply(b":%d\r\n" % _redirect(client))


def _redirect(client: Client) -> int:
    return -1 if client.private is None else client.private.terms.redirect
