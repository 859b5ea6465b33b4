"""The same dialogue on Debian's stunnel4 and on meshd: who stands around them, and what each was told."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.interop.case import Case
from tests.interop.peers import PATIENCE, Backend, Client, Peer
from tests.interop.yaml_parts import Part, bootstrap, cluster, listener, tcp_proxy
from tests.ports import free_port
from tests.tls.authority import Authority

STUNNEL = "/usr/bin/stunnel4"
_STRUCT = "type.googleapis.com/xds.type.v3.TypedStruct"
_SOCKETS = "type.googleapis.com/envoy.extensions.transport_sockets"


class Lines(int):
    """How many lines to wait for."""


#: What a side does, in order: bytes are sent; a number is how many bytes it waits for; TLS is begun;
#: END is read to.
Steps = Sequence[bytes | int | str]
TLS, END = "TLS", "END"


def extension(name: str, **fields: Any) -> Part:
    """Return an extension of meshd's own."""
    struct = {"@type": _STRUCT, "type_url": f"type.googleapis.com/{name}", "value": fields}
    return {"name": name, "typed_config": struct}


class Credentials:
    """A certificate and its key, in files."""

    def __init__(self, directory: Path) -> None:
        leaf = Authority().issue("localhost", dns=["localhost"])
        self.certificate, self.key = leaf.write(directory, "server")
        self.both = directory / "both.pem"
        self.both.write_bytes(Path(self.certificate).read_bytes() + Path(self.key).read_bytes())
        self.both.chmod(0o600)

    def downstream(self) -> Part:
        """Return a DownstreamTlsContext, without its type."""
        files = {
            "certificate_chain": {"filename": self.certificate},
            "private_key": {"filename": self.key},
        }
        return {"common_tls_context": {"tls_certificates": [files]}}

    def server(self) -> ssl.SSLContext:
        """Return a context for a server of a test."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def trusting() -> ssl.SSLContext:
    """Return a context for a client that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Side:
    """One side of a dialogue: goes through its steps, and notes what it hears."""

    def __init__(self, steps: Steps, context: ssl.SSLContext) -> None:
        self.steps = steps
        self.context = context
        self.heard: list[bytes | str] = []
        #: Set once the other side is there: a reset may else come before a connect has returned.
        self.ready = threading.Event()

    def __call__(self, peer: Peer) -> None:
        """Go through the steps, as far as they can be gone."""
        self.ready.wait(PATIENCE)
        for step in self.steps:
            if isinstance(step, bytes):
                if not peer.try_send(step):
                    self.heard.append("cannot send")
                    return
            elif isinstance(step, Lines):
                lines = self._lines(peer, step)
                self.heard.append(lines)
                if lines.count(b"\n") < step:
                    return
            elif isinstance(step, int):
                data = peer.read(step)
                self.heard.append(data)
                if len(data) < step:
                    return
            elif step == TLS:
                server = self.context.protocol == ssl.PROTOCOL_TLS_SERVER
                peer.sock = self.context.wrap_socket(peer.sock, server_side=server)
                self.heard.append("TLS")
            else:
                data, ending = peer.read_to_end()
                self.heard += [data, ending]

    def _lines(self, peer: Peer, count: int) -> bytes:
        """Read so many lines, or fewer if there are no more."""
        data = b""
        while data.count(b"\n") < count:
            byte = peer.read(1)
            if not byte:
                break
            data += byte
        return data


class Stunnel:
    """A stunnel4 with a service for each scene."""

    def __init__(self, directory: Path, scenes: Sequence[Scene]) -> None:
        for _ in range(5):
            self._start(directory / "stunnel.conf", scenes)
            try:
                self.process.wait(0.3)
            except subprocess.TimeoutExpired:
                return
            # Somebody else has taken one of the free ports.
            self.close()
        raise AssertionError("stunnel4 does not start")

    def _start(self, conf: Path, scenes: Sequence[Scene]) -> None:
        lines = ["foreground = yes", "pid =", "syslog = no", "debug = 5"]
        self.ports = [free_port() for _ in scenes]
        for number, (scene, port) in enumerate(zip(scenes, self.ports, strict=True)):
            lines += [f"[s{number}]", f"accept = 127.0.0.1:{port}", *scene.service()]
        conf.write_text("\n".join(lines) + "\n")
        self.process = subprocess.Popen(
            [STUNNEL, str(conf)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if "Configuration successful" in line:
                break
        # It must not be held up by a pipe that is full.
        self._thread = threading.Thread(target=self.process.stderr.read, daemon=True)
        self._thread.start()

    def client(self, number: int) -> Client:
        """Connect to a service."""
        return Client(("127.0.0.1", self.ports[number]))

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(PATIENCE)
        self._thread.join(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()


class Scene:
    """A client and a server, with steps of each, and what stunnel4 and meshd are configured with."""

    def __init__(
        self,
        protocol: str,
        client: Steps,
        server: Steps,
        options: Sequence[str] = (),
        fields: dict[str, Any] | None = None,
        client_mode: bool = False,
    ) -> None:
        self.protocol = protocol
        self.steps = client, server
        self.options = options
        self.fields = fields or {}
        self.client_mode = client_mode
        self.plays = 0

    def open(self, credentials: Credentials) -> None:
        """Have a backend."""
        self.credentials = credentials
        self.server = Side(self.steps[1], credentials.server())
        self.backend = Backend(lambda peer: self.server(peer))

    def service(self) -> list[str]:
        """Return the lines of stunnel's service."""
        lines = [f"protocol = {self.protocol}", *self.options]
        lines += ["client = yes"] if self.client_mode else [f"cert = {self.credentials.both}"]
        if self.protocol != "socks":
            lines.append(f"connect = 127.0.0.1:{self.backend.port}")
        return lines

    def parts(self, name: str) -> tuple[Part, Part]:
        """Return meshd's listener and cluster."""
        return (self._client_side if self.client_mode else self._server_side)(name)

    def _server_side(self, name: str) -> tuple[Part, Part]:
        tls = self.credentials.downstream()
        if self.protocol == "socks":
            kind, config = "tls.v3.DownstreamTlsContext", tls
        else:
            kind, config = "starttls.v3.StartTlsConfig", {"tls_socket_config": tls}
        target = cluster(self.backend, name=name)
        if self.protocol in ("socks", "connect"):
            target = {"name": name, "cluster_type": extension("meshd.clusters.named_target")}
        dialogue = extension(
            "meshd.filters.network.dialogue", stat_prefix="s", protocol=self.protocol, **self.fields
        )
        chain = {
            "filters": [dialogue, tcp_proxy(name, access_log=[])],
            "transport_socket": {"name": "x", "typed_config": {"@type": f"{_SOCKETS}.{kind}", **config}},
        }
        return listener(chain, name=name), target

    def _client_side(self, name: str) -> tuple[Part, Part]:
        inside = {"name": "t", "typed_config": {"@type": f"{_SOCKETS}.tls.v3.UpstreamTlsContext"}}
        outside = extension(
            "meshd.transport_sockets.dialogue", protocol=self.protocol, transport_socket=inside, **self.fields
        )
        return (
            listener(tcp_proxy(name, access_log=[]), name=name),
            cluster(self.backend, name=name, transport_socket=outside),
        )

    def play(self, connect: Callable[[], Client]) -> tuple[list[Any], list[Any]]:
        """Let a client connect and speak; return what it and the server heard."""
        self.server = Side(self.steps[1], self.credentials.server())
        # The client's words name the backend where it is the target.
        target = b"%d" % self.backend.port
        steps = [
            each.replace(b"BACKEND", target) if isinstance(each, bytes) else each for each in self.steps[0]
        ]
        client = Side(steps, trusting())
        client.ready.set()
        peer = connect()
        self.server.ready.set()
        try:
            client(peer)
        finally:
            if self.steps[1]:
                self.backend.peer(self.plays)
                self.plays += 1
            peer.close()
            self.backend.finish()
        return client.heard, self.server.heard


class World:
    """All scenes, on one stunnel4 and one meshd."""

    def __init__(self, directory: Path, scenes: dict[str, Scene]) -> None:
        credentials = Credentials(directory)
        self.scenes = scenes
        self.names = list(scenes)
        for scene in scenes.values():
            scene.open(credentials)
        self.stunnel = Stunnel(directory, list(scenes.values()))
        self.case = Case("meshd", directory)
        parts = [scene.parts(f"s{number}") for number, scene in enumerate(scenes.values())]
        self.case.start(bootstrap(*(each[0] for each in parts), clusters=[each[1] for each in parts]))

    def on_stunnel(self, name: str) -> tuple[list[Any], list[Any]]:
        """Return what client and server heard around stunnel4."""
        return self.scenes[name].play(lambda: self.stunnel.client(self.names.index(name)))

    def on_meshd(self, name: str) -> tuple[list[Any], list[Any]]:
        """Return what client and server heard around meshd."""
        return self.scenes[name].play(lambda: self.case.client(f"s{self.names.index(name)}"))

    def close(self) -> None:
        """End all."""
        self.stunnel.close()
        self.case.close()
        for scene in self.scenes.values():
            scene.backend.close()
