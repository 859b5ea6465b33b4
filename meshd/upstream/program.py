"""
Clusters whose host is a program: each connection starts one, and speaks to its standard input and output.

The program's environment tells of the client: REMOTE_HOST and REMOTE_PORT, and
SSL_CLIENT_DN and SSL_CLIENT_I_DN, subject and issuer of its certificate in
OpenSSL's form of one line.  A program sees the end of what the client sends as
the end of its input, and may go on after the connection is over; one that still
runs when meshd ends is sent a SIGTERM.
"""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from meshd.interfaces import IConnecting, IStreamInfo, IUpstream
from meshd.net.program import Exec, Program, run
from meshd.upstream.cluster import Cluster, ClusterContext
from meshd.upstream.host import Host

NAME = "meshd.clusters.exec"
#: Seconds after a program's end until its connection is ended too, if nobody has its socket any more.
GRACE = 0.1


class ProgramCluster(Cluster):
    """A cluster of one host, the program."""

    runs_programs = True

    def __init__(self, settings: Exec, config: Any, context: ClusterContext) -> None:
        super().__init__(config, context)
        self._exec = settings
        self._host = Host(settings.program)
        self.hosts = [self._host]
        self.running: set[Program] = set()

    def connect(self, upstream: IUpstream, info: IStreamInfo, hash_key: int | None = None) -> IConnecting:
        return self.connect_to(self._host, upstream, info)

    def connect_to(self, host: Any, upstream: IUpstream, info: IStreamInfo) -> IConnecting:
        connector: Any = self.context.connector
        connecting = connector.prepare(self, host, upstream, info)

        def ended(program: Program) -> None:
            self.running.discard(program)
            # What it has written may still be on its way.
            self.context.timers.call_later(GRACE, lambda: _close_if_ended(connecting))

        try:
            sock, program = run(self.context.reactor, self._exec, environment(info), ended)
        except OSError as error:
            connecting.fail_soon(f"{self._exec.program} cannot be run: {error.strerror or error}")
        else:
            if not program.over:
                self.running.add(program)
            connecting.dial(sock)
        made: IConnecting = connecting
        return made

    def stop(self) -> None:
        super().stop()
        for program in tuple(self.running):
            program.terminate()


def _close_if_ended(connecting: Any) -> None:
    """End the connection if the program's end of the socket is closed, and all that it said is passed on."""
    stream = connecting.stream
    if stream is not None and stream.read_ended:
        stream.close_now()


def environment(info: Any) -> dict[str, str]:
    """Return what the environment of a program says of a client."""
    found = {}
    if not isinstance(info.remote, str):
        found["REMOTE_HOST"], found["REMOTE_PORT"] = info.remote[0], str(info.remote[1])
    peer = info.tls.peer if info.tls is not None else None
    if peer is not None:
        certificate = x509.load_der_x509_certificate(peer.der)
        found["SSL_CLIENT_DN"] = one_line(certificate.subject)
        found["SSL_CLIENT_I_DN"] = one_line(certificate.issuer)
    return found


def one_line(name: x509.Name) -> str:
    """Return a name as OpenSSL's X509_NAME_oneline does: /C=SE/CN=here, in hex what is not ASCII."""
    text = ""
    for attribute in name:
        short = _SHORT.get(attribute.oid, attribute.rfc4514_attribute_name)
        value = attribute.value if isinstance(attribute.value, bytes) else attribute.value.encode()
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02X}" for byte in value)
        text += f"/{short}={shown}"
    return text


#: What OpenSSL calls attributes that RFC 4514 has no name for.
_SHORT = {
    NameOID.EMAIL_ADDRESS: "emailAddress",
    NameOID.SERIAL_NUMBER: "serialNumber",
    NameOID.GIVEN_NAME: "GN",
    NameOID.SURNAME: "SN",
    NameOID.TITLE: "title",
    NameOID.STREET_ADDRESS: "street",
}
