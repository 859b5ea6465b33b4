"""
The ClientHello: what a TLS client says first, read before any handshake.

Parser takes the first bytes of a connection, in however many TLS records and
pieces they come, and gives a ClientHello (RFC 8446, section 4.1.2; RFC 5246,
section 7.4.1.2).  What is accepted is what Envoy 1.40's tls_inspector, that is
BoringSSL, was seen to accept: records, message and the list of extensions are
to be well-formed, of the extensions themselves only server_name (RFC 6066) and
encrypted_client_hello.  The other extensions are read when they are asked for;
of one that is malformed there is as much as can be read, or nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from struct import Struct, error, unpack

#: What a whole ClientHello may take, its record headers included, if nothing else is said; in bytes.
LIMIT = 16384

ALERT, HANDSHAKE = 21, 22
CLIENT_HELLO = 1
SERVER_NAME, GROUPS, POINT_FORMATS, SIGNATURE_ALGORITHMS, ALPN = 0, 10, 11, 13, 16
SESSION_TICKET, PRE_SHARED_KEY, SUPPORTED_VERSIONS, ECH = 35, 41, 43, 0xFE0D

_RECORD = Struct("!BBxH")
_EXTENSION = Struct("!HH")
_SHORT = Struct("!H")
_LONGEST_RECORD = 16704
_LONGEST_NAME = 255
_EMPTY_RECORDS, _WARNINGS = 32, 4
_GREASE = frozenset(0x0A0A + 0x1010 * n for n in range(16))
#: BoringSSL's names of alerts by their numbers (RFC 8446, section 6): those that SSL 3 had, and later ones.
_SSLV3_ALERTS = {
    **{0: "CLOSE_NOTIFY", 10: "UNEXPECTED_MESSAGE", 20: "BAD_RECORD_MAC", 30: "DECOMPRESSION_FAILURE"},
    **{40: "HANDSHAKE_FAILURE", 41: "NO_CERTIFICATE", 42: "BAD_CERTIFICATE", 43: "UNSUPPORTED_CERTIFICATE"},
    **{44: "CERTIFICATE_REVOKED", 45: "CERTIFICATE_EXPIRED", 46: "CERTIFICATE_UNKNOWN"},
    **{47: "ILLEGAL_PARAMETER"},
}
_TLSV1_ALERTS = {
    **{21: "DECRYPTION_FAILED", 22: "RECORD_OVERFLOW", 48: "UNKNOWN_CA", 49: "ACCESS_DENIED"},
    **{50: "DECODE_ERROR", 51: "DECRYPT_ERROR", 60: "EXPORT_RESTRICTION", 70: "PROTOCOL_VERSION"},
    **{71: "INSUFFICIENT_SECURITY", 80: "INTERNAL_ERROR", 86: "INAPPROPRIATE_FALLBACK"},
    **{90: "USER_CANCELLED", 100: "NO_RENEGOTIATION", 110: "UNSUPPORTED_EXTENSION"},
    **{111: "CERTIFICATE_UNOBTAINABLE", 112: "UNRECOGNIZED_NAME", 113: "BAD_CERTIFICATE_STATUS_RESPONSE"},
    **{114: "BAD_CERTIFICATE_HASH_VALUE", 115: "UNKNOWN_PSK_IDENTITY", 116: "CERTIFICATE_REQUIRED"},
    **{120: "NO_APPLICATION_PROTOCOL", 121: "ECH_REQUIRED"},
}
_HTTP = (b"GET ", b"POST ", b"HEAD ", b"PUT ")


class ProtocolError(Exception):
    """
    These bytes are no ClientHello.

    reason is the name that BoringSSL gives it, such as WRONG_VERSION_NUMBER,
    and number its number among the reasons of the SSL library.
    """

    def __init__(self, reason: str, number: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.number = number


class TooLarge(ProtocolError):
    """There are more bytes than the limit, and the ClientHello has not ended."""

    def __init__(self) -> None:
        super().__init__("CLIENT_HELLO_TOO_LARGE", 0)


class Closed(ProtocolError):
    """The client sent close_notify instead of a ClientHello."""

    def __init__(self) -> None:
        super().__init__("CLOSE_NOTIFY", 0)


def plain(numbers: Iterable[int]) -> list[int]:
    """Return the numbers without those that are there to keep servers tolerant (GREASE, RFC 8701)."""
    return [each for each in numbers if each not in _GREASE]


@dataclass(frozen=True, slots=True)
class ClientHello:
    """
    A ClientHello.

    bodies are the extensions by number, in order, undecoded; size is how many
    bytes of the connection it took, in records.
    """

    legacy_version: int
    random: bytes
    session_id: bytes
    suites: bytes
    compression_methods: bytes
    bodies: dict[int, bytes] = field(hash=False)
    size: int

    @property
    def cipher_suites(self) -> tuple[int, ...]:
        """The cipher suites in the client's order, GREASE and signalling values included."""
        return unpack(f"!{len(self.suites) // 2}H", self.suites)

    @property
    def extensions(self) -> tuple[int, ...]:
        """The numbers of the extensions, in order."""
        return tuple(self.bodies)

    @property
    def versions(self) -> tuple[int, ...]:
        """
        The versions in supported_versions (RFC 8446, section 4.2.1).

        legacy_version alone if there is no such extension, or nothing in it;
        none if it is malformed.
        """
        body = self.bodies.get(SUPPORTED_VERSIONS, b"\0")
        if not body or body[0] >= len(body):
            return ()
        count = body[0] // 2
        return unpack(f"!{count}H", body[1 : 1 + 2 * count]) if count else (self.legacy_version,)

    @property
    def max_version(self) -> int:
        """The highest of versions that is not GREASE, legacy_version if all are; 0 if there are none."""
        versions = self.versions
        return max(plain(versions), default=self.legacy_version if versions else 0)

    @property
    def groups(self) -> tuple[int, ...]:
        """The key-exchange groups (RFC 8446, section 4.2.7) in the client's order."""
        return self._numbers(GROUPS)

    @property
    def signature_algorithms(self) -> tuple[int, ...]:
        """The signature schemes (RFC 8446, section 4.2.3) in the client's order."""
        return self._numbers(SIGNATURE_ALGORITHMS)

    @property
    def point_formats(self) -> tuple[int, ...]:
        """The formats of elliptic-curve points (RFC 8422, section 5.1.2)."""
        return tuple(self.bodies.get(POINT_FORMATS, b"")[1:])

    @property
    def server_name(self) -> str:
        """The SNI in lower case; empty if there is none.  Bytes that are not UTF-8 are surrogates."""
        return self.bodies.get(SERVER_NAME, b"")[5:].lower().decode("utf-8", "surrogateescape")

    @property
    def alpn(self) -> tuple[str, ...]:
        """The application protocols (RFC 7301) in the client's order; none if the list is malformed."""
        body = self.bodies.get(ALPN)
        if body is None or len(body) < 4 or body[0] << 8 | body[1] != len(body) - 2:
            return ()
        found, position = [], 2
        while position < len(body):
            start = position + 1
            position = start + body[position]
            if position == start or position > len(body):
                return ()
            found.append(body[start:position].decode("utf-8", "surrogateescape"))
        return tuple(found)

    @property
    def has_ech(self) -> bool:
        """Whether it has an encrypted_client_hello, true or GREASE."""
        return ECH in self.bodies

    @property
    def has_session_ticket(self) -> bool:
        """Whether it offers a session ticket (RFC 5077), not only the wish for one."""
        return bool(self.bodies.get(SESSION_TICKET))

    @property
    def has_psk(self) -> bool:
        """Whether it offers a pre-shared key: an external one, or a session of TLS 1.3."""
        return PRE_SHARED_KEY in self.bodies

    def _numbers(self, extension: int) -> tuple[int, ...]:
        """Return the 16-bit numbers that follow the length in an extension, as many as there are."""
        body = self.bodies.get(extension, b"")
        return unpack(f"!{len(body) // 2}H", body[: len(body) & ~1])[1:]


class Parser:
    """
    Reads the ClientHello of one connection.

    consumed is how many bytes of the connection were looked at: whole records,
    the header of one that cannot be, and everything if it is too large.
    """

    __slots__ = ("_empty", "_limit", "_message", "_position", "_warnings", "consumed")

    def __init__(self, limit: int = LIMIT) -> None:
        """limit is how many bytes it may take: 16 KiB to 64 KiB in practice."""
        self._limit = limit
        self._message = b""
        #: Where the first record starts that has not been read.
        self._position = 0
        self._empty = self._warnings = self.consumed = 0

    def feed(self, data: bytes) -> ClientHello | None:
        """
        Return the ClientHello that the connection begins with; None if it is not all there.

        data is all that has come so far, from the first byte on.  Raise
        ProtocolError as soon as it cannot become one: TooLarge if it does not
        end within the limit, Closed if the client closes instead.
        """
        end = min(len(data), self._limit)
        while end - self._position >= 5:
            start = self.consumed = self._position + 5
            kind, major, size = _RECORD.unpack_from(data, self._position)
            if major != 3:
                raise _not_tls(data) if not self._position else ProtocolError("WRONG_VERSION_NUMBER", 247)
            if size > _LONGEST_RECORD:
                raise ProtocolError("ENCRYPTED_LENGTH_TOO_LONG", 146)
            if start + size > end:
                break
            self._position = self.consumed = start + size
            found = self._record(kind, data[start : start + size])
            if found is not None:
                return found
        if len(data) >= self._limit:
            self.consumed = self._limit
            raise TooLarge
        return None

    def _record(self, kind: int, body: bytes) -> ClientHello | None:
        self._empty = 0 if body else self._empty + 1
        if self._empty > _EMPTY_RECORDS:
            raise ProtocolError("TOO_MANY_EMPTY_FRAGMENTS", 219)
        if kind == ALERT:
            self._alert(body)
            return None
        self._warnings = 0
        if kind != HANDSHAKE:
            raise ProtocolError("UNEXPECTED_RECORD", 225)
        message = self._message = self._message + body if self._message else body
        if len(message) < 4:
            return None
        size = int.from_bytes(message[1:4], "big")
        if size > max(self._limit, LIMIT):
            raise ProtocolError("EXCESSIVE_MESSAGE_SIZE", 150)
        if len(message) < 4 + size:
            return None
        if message[0] != CLIENT_HELLO:
            raise ProtocolError("UNEXPECTED_MESSAGE", 223)
        found = _decode(message[: 4 + size], self._position)
        if len(message) > 4 + size:
            raise ProtocolError("EXCESS_HANDSHAKE_DATA", 255)
        if ECH in found.bodies:
            _check_ech(found.bodies[ECH])
        if SERVER_NAME in found.bodies:
            _check_name(found.bodies[SERVER_NAME])
        return found

    def _alert(self, body: bytes) -> None:
        if len(body) != 2:
            raise ProtocolError("BAD_ALERT", 102)
        level, description = body
        if level == 1 and description == 0:
            raise Closed
        if level == 2:
            raise ProtocolError(_alert_name(description), 1000 + description)
        if level != 1:
            raise ProtocolError("UNKNOWN_ALERT_TYPE", 227)
        self._warnings += 1
        if self._warnings > _WARNINGS:
            raise ProtocolError("TOO_MANY_WARNING_ALERTS", 220)


def parse(data: bytes, limit: int = LIMIT) -> ClientHello | None:
    """Return what a new Parser makes of data."""
    return Parser(limit).feed(data)


def _alert_name(description: int) -> str:
    if description in _SSLV3_ALERTS:
        return f"SSLV3_ALERT_{_SSLV3_ALERTS[description]}"
    if description in _TLSV1_ALERTS:
        return f"TLSV1_ALERT_{_TLSV1_ALERTS[description]}"
    return f"reason({1000 + description})"


def _not_tls(data: bytes) -> ProtocolError:
    if data.startswith(_HTTP):
        return ProtocolError("HTTP_REQUEST", 156)
    if data.startswith(b"CONNE"):
        return ProtocolError("HTTPS_PROXY_REQUEST", 155)
    return ProtocolError("WRONG_VERSION_NUMBER", 247)


def _decode(message: bytes, size: int) -> ClientHello:
    """Return the ClientHello of a whole handshake message, its header of 4 bytes included."""
    try:
        session = 39 + message[38]
        suites = session + 2 + _SHORT.unpack_from(message, session)[0]
        methods = suites + 1 + message[suites]
    except (IndexError, error):
        raise ProtocolError("CLIENTHELLO_PARSE_FAILED", 131) from None
    whole = ClientHello(
        message[4] << 8 | message[5],
        message[6:38],
        message[39:session],
        message[session + 2 : suites],
        message[suites + 1 : methods],
        _extensions(message, methods),
        size,
    )
    if session > 71 or len(whole.suites) % 2 or not whole.suites or not whole.compression_methods:
        raise ProtocolError("CLIENTHELLO_PARSE_FAILED", 131)
    return whole


def _extensions(message: bytes, position: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    end = len(message)
    if position == end:
        return found
    try:
        (size,) = _SHORT.unpack_from(message, position)
        position += 2
        well = position + size == end
        while position < end:
            kind, size = _EXTENSION.unpack_from(message, position)
            start = position + 4
            position = start + size
            if kind in found:
                well = False
            found[kind] = message[start:position]
    except error:
        well = False
    if not well or position != end:
        raise ProtocolError("CLIENTHELLO_PARSE_FAILED", 131)
    return found


def _check_name(body: bytes) -> None:
    """Refuse anything but one host name of 1 to 255 bytes, none of which is 0."""
    size = len(body) - 5
    well = 0 < size <= _LONGEST_NAME and body[2] == 0 and 0 not in body[5:]
    if not well or body[0] << 8 | body[1] != size + 3 or body[3] << 8 | body[4] != size:
        raise ProtocolError("ERROR_PARSING_EXTENSION", 149)


def _check_ech(body: bytes) -> None:
    """Refuse an outer one (draft-ietf-tls-esni, section 5) that is malformed."""
    if body[:1] not in (b"", b"\0"):
        return
    well = False
    if len(body) >= 10:
        key = 8 + (body[6] << 8 | body[7])
        payload = body[key : key + 2]
        well = len(payload) == 2 and int.from_bytes(payload, "big") == len(body) - key - 2
    if not well:
        raise ProtocolError("DECODE_ERROR", 137)
