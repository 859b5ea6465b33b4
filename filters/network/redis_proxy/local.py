"""The commands that the proxy answers itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from meshd.codec.resp_reply import Map, encode
from meshd.filters.network.redis_proxy.access import NOPROTO, Lock, first_gate, log_in, no_protocol
from meshd.filters.network.redis_proxy.external_auth import UNAUTHORIZED, WRONG_PASS
from meshd.filters.network.redis_proxy.silence import client_reply
from meshd.filters.network.redis_proxy.tracked import number_of

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.table import Entry

OK = b"+OK\r\n"
VERSION = b"7.0.0"


def wrong_number(name: str) -> bytes:
    """Return Redis's error for a wrong number of arguments."""
    return b"-ERR wrong number of arguments for '%b' command\r\n" % name.encode()


def local(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    """Answer a command by ourselves."""
    answer = _ANSWERS.get(entry.name)
    if answer is None:
        client.unknown(arguments)
        return
    if not entry.command.accepts(len(arguments)):
        if len(arguments) == 1 or entry.name in ("echo", "auth"):
            client.invalid(entry)
        else:
            client.reply(wrong_number(entry.name))
        return
    reply = answer(client, arguments)
    if reply is not None:
        client.reply(reply)
    entry.stats.success.value += 1


def _ping(client: Client, arguments: list[bytes]) -> bytes:
    if client.subscriber is not None and client.protocol == 2:
        return encode([b"pong", arguments[1] if len(arguments) > 1 else b""])
    return encode(arguments[1]) if len(arguments) > 1 else b"+PONG\r\n"


def _echo(client: Client, arguments: list[bytes]) -> bytes:
    return encode(arguments[1])


def _time(client: Client, arguments: list[bytes]) -> bytes:
    microseconds = time.time_ns() // 1000
    return encode([b"%d" % (microseconds // 1_000_000), b"%d" % (microseconds % 1_000_000)])


def _quit(client: Client, arguments: list[bytes]) -> bytes:
    client.finish()
    return OK


def _auth(client: Client, arguments: list[bytes]) -> bytes | None:
    if len(arguments) > 3:
        return b"-ERR syntax error\r\n"
    external = client.shared.external
    if external is not None:
        external.ask(client, arguments[1:], UNAUTHORIZED, lambda error: client.reply(error or OK))
        return None
    return log_in(client, arguments[1:]) or OK


def _hello(client: Client, arguments: list[bytes]) -> bytes | None:
    protocol, words = client.protocol, arguments[1:]
    if words:
        if words[0] not in (b"2", b"3") or not _may_speak(client, int(words[0])):
            if client.options.protocol == "RESP3":
                client.shared.stats.rq_noproto.inc()
            return NOPROTO
        protocol = int(words[0])
    rest = words[1:]
    name = login = None
    while rest:
        option = rest[0].upper()
        if option == b"AUTH" and len(rest) > 2:
            login, rest = rest[1:3], rest[3:]
        elif option == b"SETNAME" and len(rest) > 1:
            name, rest = rest[1], rest[2:]
        else:
            return b"-ERR Syntax error in HELLO\r\n"
    external = client.shared.external
    if login is None:
        return _welcome(client, protocol, name)
    if external is None:
        return log_in(client, login) or _welcome(client, protocol, name)
    external.ask(
        client, login, WRONG_PASS, lambda error: client.reply(error or _welcome(client, protocol, name))
    )
    return None


def _welcome(client: Client, protocol: int, name: bytes | None) -> bytes:
    """Answer HELLO, if the client is let in."""
    if isinstance(client.gate, Lock):
        return (
            b"-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto>"
            b" AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol"
            b" version at the same time\r\n"
        )
    if client.private is not None and protocol != client.protocol:
        return b"-ERR HELLO with another version is not supported by the proxy while tracking is on\r\n"
    if name is not None:
        client.name = name
    return _greet(client, protocol)


def _may_speak(client: Client, protocol: int) -> bool:
    return client.options.protocol in ("ANY", f"RESP{protocol}")


def _greet(client: Client, protocol: int) -> bytes:
    client.protocol = protocol
    client.choose_flavour()
    if client.gate is no_protocol and protocol == 3:
        client.gate = None
    facts = Map(
        [
            (b"server", b"redis"),
            (b"version", VERSION),
            (b"proto", protocol),
            (b"id", number_of(client)),
            (b"mode", b"standalone"),
            (b"role", b"master"),
            (b"modules", []),
        ]
    )
    return encode(facts, protocol)


def _reset(client: Client, arguments: list[bytes]) -> bytes:
    client.database, client.protocol, client.name = 0, 2, b""
    client.reset_state()
    client.user = b"default"
    if client.silence is not None and client.silence.lasts:
        client.silence.end()
    client.gate = first_gate(client.shared, client)
    return b"+RESET\r\n"


def _role(client: Client, arguments: list[bytes]) -> bytes:
    return encode([b"master", 0, []])


def _ok(client: Client, arguments: list[bytes]) -> bytes:
    return OK


def _set_name(client: Client, arguments: list[bytes]) -> bytes:
    if not all(33 <= byte <= 126 for byte in arguments[2]):
        return b"-ERR Client names cannot contain spaces, newlines or special characters.\r\n"
    client.name = arguments[2]
    return OK


def _get_name(client: Client, arguments: list[bytes]) -> bytes:
    return encode(client.name or None, client.protocol)


def _client_id(client: Client, arguments: list[bytes]) -> bytes:
    return encode(number_of(client))


def _client_info(client: Client, arguments: list[bytes]) -> bytes:
    info = client.connection.info
    remote, here = (
        where if isinstance(where, str) else f"{where[0]}:{where[1]}" for where in (info.remote, info.local)
    )
    age = max(0, int(time.time() - info.start))
    text = (
        f"id={number_of(client)} addr={remote} laddr={here} name={client.name.decode('latin-1')} age={age}"
        f" idle=0 flags={'P' if client.subscriber is not None else 'N'} db={client.database}"
        f" multi={-1 if client.transaction is None else len(client.transaction)} qbuf=0"
        f" user={client.user.decode('latin-1')} resp={client.protocol}\n"
    )
    return encode(text.encode("latin-1"), client.protocol)


def _on_or_off(client: Client, arguments: list[bytes]) -> bytes:
    return OK if arguments[2].upper() in (b"ON", b"OFF") else b"-ERR syntax error\r\n"


def _who(client: Client, arguments: list[bytes]) -> bytes:
    return encode(client.user)


_ANSWERS: dict[str, Callable[[Client, list[bytes]], bytes | None]] = {
    "ping": _ping,
    "echo": _echo,
    "time": _time,
    "quit": _quit,
    "auth": _auth,
    "hello": _hello,
    "reset": _reset,
    "role": _role,
    "readonly": _ok,
    "readwrite": _ok,
    "acl|whoami": _who,
    "client|capa": _ok,
    "client|setname": _set_name,
    "client|getname": _get_name,
    "client|setinfo": _ok,
    "client|id": _client_id,
    "client|info": _client_info,
    "client|no-evict": _on_or_off,
    "client|no-touch": _on_or_off,
    "client|reply": client_reply,
}

#: Local by the table, but a server knows it better: what it supports, and the documentation.
ASK_SERVER = ("command", "command|count", "command|docs", "command|getkeys", "command|getkeysandflags",
              "command|info", "command|list")  # fmt: skip
