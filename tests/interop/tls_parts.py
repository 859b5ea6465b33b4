"""
Peers that speak TLS with an exact tongue, and the pieces of config that belong to it.

A TLSPeer is a Peer whose bytes go through Python's ssl: what it received is
plaintext, and its ending says whether a close_notify came or only a FIN, or
which alert.  s_client runs the openssl program for what Python's ssl cannot
choose.
"""

import contextlib
import re
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.interop.case import Case
from tests.interop.peers import FIN, OPEN, PATIENCE, RST, Backend, Client, Peer, Script, echo
from tests.interop.yaml_parts import OPERATORS, Part, access_log, bootstrap, chain, cluster, listener, network
from tests.tls.authority import Authority, Leaf, Owner

NOTIFIED = "close_notify"
"""How a direction ends that TLS itself has ended."""

SOCKETS = "type.googleapis.com/envoy.extensions.transport_sockets"

TLS_OPERATORS = (
    *OPERATORS,
    "DOWNSTREAM_TLS_VERSION",
    "DOWNSTREAM_TLS_CIPHER",
    "DOWNSTREAM_PEER_SUBJECT",
    "DOWNSTREAM_PEER_URI_SAN",
    "DOWNSTREAM_PEER_DNS_SAN",
    "DOWNSTREAM_PEER_FINGERPRINT_256",
    "DOWNSTREAM_LOCAL_SUBJECT",
    "UPSTREAM_TLS_VERSION",
    "UPSTREAM_TLS_CIPHER",
    "UPSTREAM_PEER_SUBJECT",
)


#: What OpenSSL cannot send, and sends in its place: see docs/differences.rst.
SAME_ALERT = {"TLSV1_BAD_CERTIFICATE_HASH_VALUE": "SSLV3_ALERT_CERTIFICATE_UNKNOWN"}


class TLSPeer(Peer):
    """A Peer whose bytes go through TLS, once secure() was called."""

    #: What went wrong in the handshake, by OpenSSL's name.
    failure = ""
    #: How the wire ended, below TLS.
    wire = OPEN
    tls: Any = None

    def secure(
        self,
        context: ssl.SSLContext,
        server_side: bool = False,
        name: str | None = None,
        session: Any = None,
    ) -> str:
        """Shake hands; return OpenSSL's name of what went wrong, empty if nothing did."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side, name, session)
        while True:
            try:
                self.tls.do_handshake()
                self.push()
                return ""
            except ssl.SSLWantReadError:
                self.push()
                self.pull()
            except ssl.SSLError as error:
                self.push()
                self.failure = self.ending = self._reason(error)
                return self.failure

    def _reason(self, error: ssl.SSLError) -> str:
        if isinstance(error, ssl.SSLEOFError):
            return self.wire
        return SAME_ALERT.get(str(error.reason), str(error.reason))

    def pull(self) -> bool:
        """Take ciphertext from the wire; whether there was any."""
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            self.wire = RST
            data = b""
        if data:
            self._incoming.write(data)
            return True
        if self.wire == OPEN:
            self.wire = FIN
        self._incoming.write_eof()
        return False

    def push(self) -> None:
        """Send the ciphertext that is there."""
        data = self._outgoing.read()
        if data:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.sock.sendall(data)

    def send(self, data: bytes) -> None:
        if self.tls is None:
            super().send(data)
            return
        self.tls.write(data)
        self.push()

    def some(self, size: int = 65536) -> bytes:
        if self.tls is None:
            return super().some(size)
        while self.ending == OPEN:
            try:
                data = bytes(self.tls.read(size))
            except ssl.SSLWantReadError:
                self.push()
                self.pull()
                continue
            except ssl.SSLZeroReturnError:
                data = b""
            except ssl.SSLError as error:
                self.ending = self._reason(error)
                return b""
            if not data:
                self.ending = NOTIFIED
            self.received += data
            return data
        return b""

    def half_close(self) -> None:
        """Send a close_notify, and no FIN."""
        if self.tls is None:
            super().half_close()
            return
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        self.push()

    def fin(self) -> None:
        """Send a FIN, and nothing of TLS."""
        self.sock.shutdown(socket.SHUT_WR)

    def wire_end(self) -> str:
        """Read from the wire until it ends, and say how."""
        while self.wire == OPEN:
            self.pull()
        return self.wire


class TLSClient(TLSPeer, Client):
    """A client; it shakes hands when secure() is called."""

    def __init__(self, address: tuple[str, int] | str, **options: Any) -> None:
        Client.__init__(self, address, **options)


class TLSBackend(Backend):
    """A server that shakes hands with each client before it runs its script."""

    def __init__(self, context: ssl.SSLContext | None, script: Script = echo, **options: Any) -> None:
        self.context = context
        self.names: list[str | None] = []
        if context is not None:
            context.sni_callback = self._asked
        super().__init__(self._shake_and(script), **options)

    def _asked(self, connection: Any, name: str | None, context: ssl.SSLContext) -> None:
        self.names.append(name)

    @staticmethod
    def make(sock: socket.socket) -> Peer:
        return TLSPeer(sock)

    def _shake_and(self, script: Script) -> Script:
        def run(peer: Peer) -> None:
            assert isinstance(peer, TLSPeer)
            if self.context is None or not peer.secure(self.context, server_side=True):
                script(peer)

        return run


# Contexts of Python's ssl.


def load(context: ssl.SSLContext, owner: Owner) -> None:
    """Have a context show a certificate."""
    with tempfile.TemporaryDirectory() as directory:
        context.load_cert_chain(*owner.write(directory, "it"))


def client_context(
    trusted: Owner | None = None, shows: Owner | None = None, **settings: Any
) -> ssl.SSLContext:
    """Return a client's context, which trusts anybody if nobody is named; settings are its attributes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.set_ciphers(ORDER)
    if trusted is None:
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=trusted.alone.decode())
    return _finish(context, shows, settings)


def server_context(shows: Owner, trusted: Owner | None = None, **settings: Any) -> ssl.SSLContext:
    """Return a server's context, which demands a certificate if somebody is trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if trusted is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=trusted.alone.decode())
    return _finish(context, shows, settings)


def _finish(context: ssl.SSLContext, shows: Owner | None, settings: dict[str, Any]) -> ssl.SSLContext:
    if shows is not None:
        load(context, shows)
    for name, value in settings.items():
        method = getattr(context, name)
        if callable(method):
            method(value)
        else:
            setattr(context, name, value)
    return context


#: Of equal ciphers the AES that OpenSSL has first: docs/differences.rst says why.
ORDER = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:RSA+AES"

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


# Pieces of config.


def inline(data: bytes | str) -> Part:
    """A DataSource."""
    return {"inline_string": data if isinstance(data, str) else data.decode()}


def server_tls(*shows: Owner, common: Part | None = None, **fields: Any) -> Part:
    """A downstream transport socket that shows these certificates; common adds to common_tls_context."""
    certificates = [each.inline() for each in shows if isinstance(each, Leaf)]
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{SOCKETS}.tls.v3.DownstreamTlsContext",
            "common_tls_context": {"tls_certificates": certificates, **(common or {})},
            **fields,
        },
    }


def client_tls(*shows: Owner, common: Part | None = None, **fields: Any) -> Part:
    """An upstream transport socket."""
    certificates = [each.inline() for each in shows if isinstance(each, Leaf)]
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{SOCKETS}.tls.v3.UpstreamTlsContext",
            "common_tls_context": {"tls_certificates": certificates, **(common or {})},
            **fields,
        },
    }


def trusting(authority: Authority, **fields: Any) -> Part:
    """A common_tls_context with a validation_context that trusts an authority."""
    return {"validation_context": {"trusted_ca": inline(authority.alone), **fields}}


def tls_log(path: str = "LOG") -> list[Part]:
    """The access log with what is known of TLS, too."""
    log = access_log(path)
    log[0]["typed_config"]["log_format"] = {"json_format": {name: f"%{name}%" for name in TLS_OPERATORS}}
    return log


ECHO = network("echo", "Echo")


def secure_chain(socket_: Part, *filters: Part, **fields: Any) -> Part:
    """A filter chain behind TLS; an echo if no filters are named."""
    return {**chain(*(filters or (ECHO,))), "transport_socket": socket_, **fields}


def secure_front(socket_: Part, *filters: Part, **fields: Any) -> Part:
    """A whole config: one listener that serves TLS, its own access log, an echo unless filters are named."""
    fields.setdefault("access_log", tls_log())
    return bootstrap(listener(secure_chain(socket_, *filters), **fields))


def secure_relay(socket_: Part, *hosts: Any, log: bool = True, **fields: Any) -> Part:
    """A whole config: clear text in front, tcp_proxy, TLS to the hosts."""
    proxied = network("tcp_proxy", "TcpProxy", stat_prefix="t", cluster="c", access_log=tls_log())
    return bootstrap(listener(proxied), clusters=[cluster(*hosts, transport_socket=socket_, **fields)])


# What clients do.


def tls_client(case: Case, name: str = "front", **options: Any) -> TLSClient:
    """Connect to a listener, but do not yet shake hands."""
    client = TLSClient(case.proxies[0].address(name), **options)
    case.clients.append(client)
    return client


def knock(case: Case, context: ssl.SSLContext, name: str | None = None, listener_: str = "front") -> Part:
    """Connect, shake hands, say hello, end, and return all that came of it."""
    client = tls_client(case, listener_)
    if client.secure(context, name=name):
        return {"failure": client.failure, "wire": client.wire_end()}
    found = {
        "version": client.tls.version(),
        "cipher": client.tls.cipher()[0],
        "alpn": client.tls.selected_alpn_protocol(),
        "resumed": client.tls.session_reused,
    }
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.send(b"hello")
    if client.read(5) != b"hello":
        return {**found, "failure": client.ending}
    client.half_close()
    client.read_to_end()
    return {**found, "ending": client.ending}


KEPT = "Protocol version|Ciphersuite|Server Temp Key|Signature type|Hash used|ALPN protocol|Peer certificate"


def s_client(case: Case, *arguments: str, listener_: str = "front", typed: bytes = b"") -> dict[str, str]:
    """Run openssl s_client against a listener; return what it tells of the handshake."""
    address = case.proxies[0].address(listener_)
    command = [
        "openssl",
        "s_client",
        "-connect",
        f"{address[0]}:{address[1]}",
        "-brief",
        "-cipher",
        ORDER,
        *arguments,
    ]
    done = subprocess.run(command, input=typed, capture_output=True, timeout=3 * PATIENCE, check=False)
    said = done.stderr.decode("latin-1")
    found = dict(re.findall(rf"^({KEPT}): (.*)$", said, re.M))
    failed = re.search(r"error:[0-9A-F]+:SSL routines:[^:]*:([^:\n]*)", said)
    if failed:
        found["failure"] = failed[1]
    return found


def write_pem(owner: Owner, directory: Path, name: str) -> list[str]:
    """Write a certificate for s_client; return its options."""
    chain_path, key_path = owner.write(directory, name)
    return ["-cert", chain_path, "-key", key_path, "-cert_chain", chain_path]
