"""What is seen of each command: the command log, hot keys, dynamic metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshd.observe.info import ConnectionInfo, UpstreamInfo

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.options import Options
    from meshd.filters.network.redis_proxy.request import Request
    from meshd.filters.network.redis_proxy.routes import Route

#: Under which name the connection's metadata has what is noted.
NAME = "envoy.filters.network.redis_proxy"


class CommandInfo(ConnectionInfo):
    """The facts of one command, for a command log."""

    redis_command = ""
    redis_key: str | None = None
    log_type = "RedisCommand"

    def __init__(self, of: Any) -> None:
        """Begin with what is known of the connection, an IStreamInfo."""
        self.__dict__.update(of.__dict__)
        self.upstream = None


class Watch:
    """Looks at the commands of one client once they are over."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._options = client.options
        self._info: Any = client.connection.info

    @staticmethod
    def wanted(options: Options) -> bool:
        """Whether anybody wants to know."""
        return bool(options.loggers) or options.hot_keys is not None or options.metadata

    def finished(self, slot: Request, elapsed: float) -> None:
        """Note a command that took elapsed seconds."""
        options, key = self._options, slot.key
        if options.hot_keys is not None and key is not None:
            options.hot_keys.count(key)
        if options.metadata:
            self._note(slot.entry.name, key)
        if options.loggers and options.logs(elapsed):
            self._log(slot, elapsed)

    def _note(self, command: str, key: bytes | None) -> None:
        noted: dict[str, Any] = {"command": command}
        if key is not None:
            route: Route | None = self._client.shared.routes.find(key)
            noted["key"] = _text(key)
            noted["key_prefix"] = "" if route is None else _text(route.prefix)
        self._info.metadata[NAME] = noted

    def _log(self, slot: Request, elapsed: float) -> None:
        info = CommandInfo(self._info)
        info.redis_command = slot.entry.name
        info.redis_key = None if slot.key is None else _text(slot.key)
        info.start = (self._info.start or 0.0) + max(0.0, slot.start - self._client.made)
        info.end = info.start + elapsed
        raw = getattr(slot, "raw", b"")
        info.bytes_received, info.bytes_sent = len(raw), len(slot.reply or b"")
        if slot.host is not None:
            upstream = UpstreamInfo()
            upstream.host = slot.host
            upstream.remote = slot.host.address
            pool = getattr(slot, "pool", None)
            if pool is not None:
                upstream.meant_for(pool.cluster)
            info.upstream = upstream
        for logger in self._options.loggers:
            logger.log(info)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
