"""Handshakes between two contexts of pyOpenSSL, without a network."""

from collections.abc import Callable
from typing import NamedTuple

from OpenSSL import SSL, crypto

from tests.tls.authority import Owner

#: What pyOpenSSL asks about each certificate of a chain: error and depth; true lets it pass.
Verdict = Callable[[int, int], bool]


class Outcome(NamedTuple):
    """What came of a handshake: errors (X509_V_ERR_*, depth) that were found, and whether it is done."""

    found: list[tuple[int, int]]
    done: bool


def context_of(owner: Owner | None = None) -> SSL.Context:
    """Return a context that shows the certificate of owner."""
    context = SSL.Context(SSL.TLS_METHOD)
    if owner is not None:
        context.use_certificate(owner.certificate)
        for each in owner.between:
            context.add_extra_chain_cert(each)
        context.use_privatekey(owner.key)
    return context


def verify(context: SSL.Context, client: Owner, server: Owner, overlook: Verdict) -> Outcome:
    """Let a server with context verify a client that shows a certificate."""
    found: list[tuple[int, int]] = []

    def check(connection: SSL.Connection, each: crypto.X509, error: int, depth: int, ok: int) -> bool:
        if not ok:
            found.append((error, depth))
        return bool(ok) or overlook(error, depth)

    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, check)
    context.use_certificate(server.certificate)
    context.use_privatekey(server.key)
    return Outcome(found, handshake(context, context_of(client)))


def handshake(server_context: SSL.Context, client_context: SSL.Context) -> bool:
    """Return whether both sides come to an end of it, the server content with the client."""
    server, client = SSL.Connection(server_context, None), SSL.Connection(client_context, None)
    server.set_accept_state()
    client.set_connect_state()
    done = {server: False, client: False}
    for _ in range(10):
        for side, other in ((client, server), (server, client)):
            if not done[side]:
                try:
                    side.do_handshake()
                    done[side] = True
                except SSL.WantReadError:
                    pass
                except SSL.Error:
                    return False
            try:
                other.bio_write(side.bio_read(1 << 16))
            except SSL.WantReadError:
                pass
    return done[server]
