"""
Reads what stands behind an equals sign; raises Bad with stunnel's words for what is wrong.
"""

from __future__ import annotations

import grp
import pwd
import re
import socket
import string
from collections.abc import Callable

from meshd.stunnel.model import Address, SocketOption
from meshd.stunnel.sockets import OPTIONS, read_value

LEVELS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
FACILITIES = (
    *("auth", "cron", "daemon", "kern", "lpr", "mail", "news", "syslog", "user", "uucp", "authpriv"),
    *(f"local{number}" for number in range(8)),
)
VERSIONS = ("SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
#: What of 4.3's kinds of log identifiers there is.
LOG_IDS = ("sequential", "unique", "thread", "process")
OCSP_FLAGS = (
    *("NOCERTS", "NOINTERN", "NOSIGS", "NOCHAIN", "NOVERIFY", "NOEXPLICIT"),
    *("NOCASIGN", "NODELEGATED", "NOCHECKS", "TRUSTOTHER", "RESPID_KEY", "NOTIME"),
)
#: Those that hold anyway: chains are not built from what is in a response, roots are not trusted explicitly.
OCSP_HOLDS = ("NOCHAIN", "NOEXPLICIT")
#: Those by which other responders would have to be believed.
OCSP_REFUSED = ("NOCHECKS", "TRUSTOTHER")


class Bad(Exception):
    """A value that will not do; lines are what the log is told first."""

    def __init__(self, text: str, *lines: str) -> None:
        super().__init__(text)
        self.text = text
        self.lines = lines


def yes_no(value: str) -> bool:
    """Read yes or no."""
    word = value.lower()
    if word not in ("yes", "no"):
        raise Bad("The argument needs to be either 'yes' or 'no'")
    return word == "yes"


def one_of(words: tuple[str, ...], message: str) -> Callable[[str], str]:
    """Return what reads one of the words, in any case."""
    by_case = {word.lower(): word for word in words}

    def read(value: str) -> str:
        if value.lower() not in by_case:
            raise Bad(message)
        return by_case[value.lower()]

    return read


def number(message: str, least: int = 0, most: int = 2**31 - 1) -> Callable[[str], int]:
    """Return what reads a whole number between least and most."""

    def read(value: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,12}", value) or not least <= int(value) <= most:
            raise Bad(message)
        return int(value)

    return read


def seconds(message: str) -> Callable[[str], int]:
    """Return what reads a time-out; stunnel's are numbers, negative ones for ever."""
    return number(message, least=-(2**31))


def level(value: str) -> tuple[str, int]:
    """Read [FACILITY.]LEVEL; the facility is empty if it is not there."""
    facility, dot, word = value.lower().rpartition(".")
    if dot and facility not in FACILITIES:
        raise Bad("Illegal debug level")
    if word.isdecimal() and word.isascii() and int(word) < len(LEVELS):
        return facility, int(word)
    if word not in LEVELS:
        raise Bad("Illegal debug level")
    return facility, LEVELS.index(word)


def version(value: str) -> str:
    """Read a protocol version; empty for all."""
    word = value.lower()
    if word == "all":
        return ""
    for known in VERSIONS:
        if known.lower() == word:
            return known
    raise Bad("Invalid protocol version")


def user(value: str) -> int:
    """Read a user by name or number."""
    try:
        return pwd.getpwnam(value).pw_uid
    except (KeyError, ValueError):
        return number("Illegal UID")(value)


def group(value: str) -> int:
    """Read a group by name or number."""
    try:
        return grp.getgrnam(value).gr_gid
    except (KeyError, ValueError):
        return number("Illegal GID")(value)


def secret(name: str) -> Callable[[str], bytes]:
    """Return what reads a ticket key: 16 or 32 bytes in hexadecimal, with colons or without."""

    def read(value: str) -> bytes:
        digits = value.replace(":", "")
        failed = f"Failed to read {name}"
        if not digits or len(digits) % 2 or set(digits) - set(string.hexdigits):
            raise Bad(failed, f"Required {name} is 16 or 32 byte hexadecimal key")
        key = bytes.fromhex(digits)
        if len(key) not in (16, 32):
            raise Bad(failed, f"{name} value has {len(key)} bytes instead of required 16 or 32 bytes")
        return key

    return read


def socket_option(value: str) -> SocketOption:
    """Read side:NAME=VALUE."""
    side, colon, rest = value.partition(":")
    name, equals, text = rest.partition("=")
    name = name.strip().upper()
    if side.lower() not in ("a", "l", "r") or not colon or not equals or name not in OPTIONS:
        raise Bad("Illegal socket option")
    try:
        return SocketOption(side.lower(), name, read_value(name, text.strip()))
    except ValueError:
        raise Bad("Illegal socket option") from None


def retry(value: str) -> int | None:
    """Read yes, no, or milliseconds; 0 is no."""
    if value.isdecimal() and value.isascii():
        return int(value) or None
    return 1000 if yes_no(value) else None


def words(value: str) -> list[str]:
    """Read words with blanks between them."""
    return value.split()


def address(text: str, host: str) -> Address:
    """
    Read an address: a port, host:port (the last colon counts), or a unix path.

    host is for where none is said.  Raise Bad for a port that is none.
    """
    if text.startswith("/"):
        return Address(text, path=text)
    before, colon, port = text.rpartition(":")
    return Address(text, before.removeprefix("[").removesuffix("]") if colon else host, _port(port))


def _port(text: str) -> int:
    if text.isdecimal() and text.isascii() and int(text) < 65536:
        return int(text)
    try:
        return socket.getservbyname(text, "tcp")
    except (OSError, ValueError, OverflowError):
        raise Bad("no port", f'Unknown TCP service "{text}"') from None


def resolve(host: str) -> list[str]:
    """Return the IP addresses of a host, in the order of the C library; raise Bad if there are none."""
    try:
        found = socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", 0)
        reason = _REASONS.get(number or 0, "Unknown error")
        raise Bad("unresolved", f'Error resolving "{host}": {reason}') from None
    return list(dict.fromkeys(str(each[4][0]) for each in found))


_REASONS = {
    socket.EAI_NONAME: "Neither nodename nor servname known (EAI_NONAME)",
    socket.EAI_AGAIN: "Temporary failure in name resolution (EAI_AGAIN)",
    socket.EAI_FAIL: "Non-recoverable failure in name resolution (EAI_FAIL)",
    socket.EAI_NODATA: "No address associated with nodename (EAI_NODATA)",
    socket.EAI_FAMILY: "ai_family not supported (EAI_FAMILY)",
    socket.EAI_SERVICE: "servname is not supported for ai_socktype (EAI_SERVICE)",
    socket.EAI_MEMORY: "Memory allocation failure (EAI_MEMORY)",
    socket.EAI_SYSTEM: "System error returned in errno (EAI_SYSTEM)",
}
