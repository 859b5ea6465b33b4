"""
In which availability zone the nodes of a Redis Cluster are: as they themselves tell.

Valkey's CLUSTER SLOTS and CLUSTER SHARDS tell it of those that have an availability-zone
(meshd.upstream.redis_topology); older versions only in INFO, as availability_zone, which
is what Envoy asks each node for (enable_zone_discovery).  Redis does not know zones: then
the locality of the endpoint in the config holds, if the node is one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from meshd.codec.resp import ProtocolError, encode
from meshd.codec.resp_reply import Error, ReplySplitter, decode
from meshd.upstream.host import Host
from meshd.upstream.protocol_options import RedisAuth
from meshd.upstream.redis_asking import AskFailed, auth_command

#: Bytes of an answer to INFO server; it has 1 KB.
ANSWER_LIMIT = 1024 * 1024


class ZoneExchange:
    """What is said with a node to learn its zone; result is its name, empty if it has none."""

    def __init__(self, auth: RedisAuth | None = None) -> None:
        self.result: str | None = None
        self._auth = auth
        self._awaited = 2 if auth else 1
        self._splitter = ReplySplitter(ANSWER_LIMIT)

    def begin(self) -> bytes:
        """Return what to send."""
        auth = auth_command(self._auth) if self._auth else b""
        return auth + encode([b"INFO", b"server"])

    def receive(self, data: bytes) -> bytes:
        """Take what the node sent; return nothing more to send.  Raise ProtocolError or AskFailed."""
        for raw in self._splitter.receive(data):
            if not self._awaited:
                raise ProtocolError("an answer that nobody asked for")
            self._awaited -= 1
            # Whether it wanted the password shows in what it says next.
            if not self._awaited:
                self.result = _zone(decode(raw))
        return b""


def _zone(info: Any) -> str:
    if isinstance(info, Error) or not isinstance(info, bytes):
        raise AskFailed(info.text.decode("utf-8", "replace") if isinstance(info, Error) else "no INFO")
    for line in info.splitlines():
        name, _, value = line.partition(b":")
        if name == b"availability_zone":
            return value.strip().decode("utf-8", "replace")
    return ""


def put_zone(host: Host, zone: str) -> None:
    """Take note that a host is in a zone."""
    host.locality = host.locality._replace(zone=zone)


class Zones:
    """
    Asks hosts that have no zone for theirs, once each, from start() on.

    ask asks a host, and may fail; who did not tell is asked again after retry seconds.
    changed is called when hosts were given zones.
    """

    _log = Logger(namespace="meshd.upstream.redis_zones")
    _started = False
    _timer: IDelayedCall | None = None
    _found = _missed = False

    def __init__(
        self,
        ask: Callable[[Host], Deferred[str]],
        changed: Callable[[], object],
        clock: IReactorTime,
        retry: float,
    ) -> None:
        self._ask = ask
        self._changed = changed
        self._clock = clock
        self._retry = retry
        self._hosts: Sequence[Host] = ()
        #: Those that have told.
        self._told: set[Host] = set()
        self._asked: dict[Host, Deferred[None]] = {}

    def start(self) -> None:
        """Begin to ask."""
        if not self._started:
            self._started = True
            self._look()

    def stop(self) -> None:
        """Ask no more."""
        self._started = False
        self._unschedule()
        asked, self._asked = self._asked, {}
        for each in asked.values():
            each.cancel()

    def use(self, hosts: Sequence[Host]) -> None:
        """Take note of the hosts that there are."""
        self._hosts = hosts
        self._told.intersection_update(hosts)
        for gone in self._asked.keys() - set(hosts):
            self._asked[gone].cancel()
        if self._started:
            self._look()

    def _look(self) -> None:
        self._unschedule()
        for host in self._hosts:
            if not host.locality.zone and host not in self._told and host not in self._asked:
                asking = self._ask(host)
                self._asked[host] = asking.addCallbacks(
                    self._answered, self._failed, callbackArgs=(host,), errbackArgs=(host,)
                )
                asking.addBoth(self._over, host)

    def _unschedule(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _answered(self, zone: str, host: Host) -> None:
        self._told.add(host)
        if zone:
            put_zone(host, zone)
            self._found = True

    def _failed(self, failure: Failure, host: Host) -> None:
        self._missed = True
        self._log.debug("{host} told no zone: {why}", host=host.text, why=failure.getErrorMessage())

    def _over(self, result: object, host: Host) -> None:
        self._asked.pop(host, None)
        if self._asked or not self._started:
            return
        found, missed = self._found, self._missed
        self._found = self._missed = False
        if missed and self._timer is None:
            self._timer = self._clock.callLater(self._retry, self._look)
        if found:
            self._changed()
