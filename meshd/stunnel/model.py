"""A stunnel.conf, read: plain values, with stunnel's defaults.  Times are in seconds."""

from __future__ import annotations

import attrs

#: syslog's levels.
EMERG, ALERT, CRIT, ERR, WARNING, NOTICE, INFO, DEBUG = range(8)

#: The cipher list, the suites of TLS 1.3 and the groups that stunnel starts from.
CIPHERS = "HIGH:!aNULL:!SSLv2:!DH:!kDHEPSK"
CIPHERSUITES = "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"
CURVES = "X25519:P-256:X448:P-521:P-384"


@attrs.frozen
class Address:
    """
    Where to listen or to connect: a host and port, or the path of a unix socket.

    text is as it was written, for messages.
    """

    text: str
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


@attrs.frozen
class SocketOption:
    """One ``socket =`` line: side is a, l or r."""

    side: str
    name: str
    value: int | str | tuple[int, int]


@attrs.define
class Globals:
    """The options of the whole process."""

    chroot: str = ""
    facility: str = "daemon"
    #: no, yes or quiet.
    foreground: str = "no"
    overwrite_log: bool = False
    output: str = ""
    pid: str = ""
    setgid: int | None = None
    setuid: int | None = None
    syslog: bool = True
    #: What children of exec find in their environment.
    environment: dict[str, str] = attrs.field(factory=dict)
    #: What was said that has no effect, to be told in the log.
    idle: list[str] = attrs.field(factory=list)


@attrs.define
class Protocol:
    """The dialogue before TLS, and what it is told."""

    name: str = ""
    authentication: str = ""
    domain: str = ""
    headers: list[str] = attrs.field(factory=list)
    host: str = ""
    password: str = ""
    username: str = ""


@attrs.define
class Tls:
    """What a TLS context is made of."""

    cert: str = ""
    key: str = ""
    ca_file: str = ""
    ca_path: str = ""
    crl_file: str = ""
    crl_path: str = ""
    check_hosts: list[str] = attrs.field(factory=list)
    check_ips: list[str] = attrs.field(factory=list)
    check_emails: list[str] = attrs.field(factory=list)
    ciphers: str = CIPHERS
    ciphersuites: str = CIPHERSUITES
    curves: str = CURVES
    #: As written, "-NAME" takes one back; stunnel's own NO_SSLv2 and NO_SSLv3 not among them.
    options: list[str] = attrs.field(factory=list)
    #: SSLv3 ... TLSv1.3; empty for any.
    min_version: str = "TLSv1"
    max_version: str = ""
    #: None: OpenSSL's own.
    security_level: int | None = None
    psk_secrets: str = ""
    psk_identity: str = ""
    renegotiation: bool = True
    require_cert: bool = False
    request_cert: bool = False
    verify_chain: bool = False
    verify_peer: bool = False
    session_cache_size: int = 1000
    session_timeout: int = 300
    session_resume: bool = True
    ticket_key: bytes = b""
    ticket_mac: bytes = b""
    ocsp_url: str = ""
    ocsp_aia: bool = False
    ocsp_flags: list[str] = attrs.field(factory=list)
    ocsp_nonce: bool = False
    ocsp_require: bool = True
    ocsp_timeout: int = 5
    #: SSL_CONF_cmd: (command, parameter).
    commands: list[tuple[str, str]] = attrs.field(factory=list)

    @property
    def verifies(self) -> bool:
        """Whether the peer's certificate is looked at."""
        return self.verify_chain or self.verify_peer or self.request_cert or self.require_cert


@attrs.define
class Service:
    """One section; and what stands before the first one."""

    name: str = "stunnel"
    client: bool = False
    #: As written; checks.py turns them to addresses.
    accept_names: list[str] = attrs.field(factory=list)
    connect_names: list[str] = attrs.field(factory=list)
    redirect_names: list[str] = attrs.field(factory=list)
    accept: list[Address] = attrs.field(factory=list)
    connect: list[Address] = attrs.field(factory=list)
    redirect: list[Address] = attrs.field(factory=list)
    exec: str = ""
    exec_args: list[str] = attrs.field(factory=list)
    pty: bool = False
    #: None: no; milliseconds.
    retry: int | None = None
    delay: bool = False
    round_robin: bool = False
    level: int = NOTICE
    log_id: str = "sequential"
    ident: str = ""
    libwrap: bool = False
    local: str = ""
    #: None: not set; client: the name to send; server: primary:pattern, several.
    sni: str | None = None
    sni_patterns: list[str] = attrs.field(factory=list)
    protocol: Protocol = attrs.field(factory=Protocol)
    reset: bool = True
    setgid: int | None = None
    setuid: int | None = None
    sockets: list[SocketOption] = attrs.field(factory=list)
    timeout_busy: int = 300
    timeout_close: int = 60
    timeout_connect: int = 10
    timeout_idle: int = 43200
    #: none, source, destination or both.
    transparent: str = "none"
    tls: Tls = attrs.field(factory=Tls)
    #: What was said that has no effect, to be told in the log.
    idle: list[str] = attrs.field(factory=list)
    #: Options in comments that stunnel does not know, by name.
    extras: dict[str, str] = attrs.field(factory=dict)

    @property
    def endpoints(self) -> int:
        """How many of the two ends are there."""
        server = not self.client
        return sum(
            bool(each)
            for each in (
                self.accept_names,
                self.connect_names,
                self.exec,
                server and self.sni_patterns,
                server and self.protocol.name == "socks",
                self.transparent_destination,
            )
        )

    @property
    def transparent_source(self) -> bool:
        """Whether connections come from the client's address."""
        return self.transparent in ("source", "both")

    @property
    def transparent_destination(self) -> bool:
        """Whether connections go to where the client wanted to go before it was redirected."""
        return self.transparent in ("destination", "both")

    @property
    def goes_where_clients_want(self) -> bool:
        """Whether each connection has a target of its own, instead of what connect says."""
        return self.transparent_destination or (
            not self.client and self.protocol.name in ("socks", "connect")
        )


@attrs.define
class Configuration:
    """The file, read."""

    globals: Globals = attrs.field(factory=Globals)
    #: The sections; in inetd mode there is none, and defaults is the service.
    services: list[Service] = attrs.field(factory=list)
    defaults: Service = attrs.field(factory=Service)
    #: Options in comments that stunnel does not know, by name.
    extras: dict[str, str] = attrs.field(factory=dict)

    @property
    def inetd(self) -> bool:
        """Whether it is run by inetd: there is no section."""
        return not self.services
