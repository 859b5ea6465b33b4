"""
What is counted of TLS, by Envoy's names: listener.<address>.ssl.* and cluster.<name>.ssl.*.

The signature algorithm of a handshake (Envoy: ssl.sigalgs.*) cannot be had from
pyOpenSSL's binding, and is not counted.
"""

from __future__ import annotations

from meshd.interfaces import ICounter, IScope

#: OpenSSL's names of groups whose other name is Envoy's.
GROUPS = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521", "x25519": "X25519"}


class TlsStats:
    """The counters of one listener's or cluster's connections."""

    def __init__(self, scope: IScope, is_client: bool) -> None:
        """scope is that of the listener or cluster."""
        ssl = self._ssl = scope.scope("ssl")
        self.connection_error = ssl.counter("connection_error")
        self.handshake = ssl.counter("handshake")
        self.session_reused = ssl.counter("session_reused")
        self.no_certificate = ssl.counter("no_certificate")
        self.fail_verify_no_cert = ssl.counter("fail_verify_no_cert")
        self.fail_verify_error = ssl.counter("fail_verify_error")
        self.fail_verify_san = ssl.counter("fail_verify_san")
        self.fail_verify_cert_hash = ssl.counter("fail_verify_cert_hash")
        self.ocsp_staple_failed = ssl.counter("ocsp_staple_failed")
        self.ocsp_staple_omitted = ssl.counter("ocsp_staple_omitted")
        self.ocsp_staple_responses = ssl.counter("ocsp_staple_responses")
        self.ocsp_staple_requests = ssl.counter("ocsp_staple_requests")
        factory = scope.scope("client_ssl_socket_factory" if is_client else "server_ssl_socket_factory")
        self.context_updated = factory.counter("ssl_context_update_by_sds")
        upstream = factory.counter("upstream_context_secrets_not_ready")
        downstream = factory.counter("downstream_context_secrets_not_ready")
        self.not_ready = upstream if is_client else downstream
        self._by_name: dict[tuple[str, str], ICounter] = {}

    def established(self, version: str, cipher: str, group: str) -> None:
        """Count a handshake by what was agreed on."""
        self.handshake.inc()
        self._of("versions", version)
        self._of("ciphers", cipher)
        if group:
            self._of("curves", GROUPS.get(group, group))

    def _of(self, kind: str, name: str) -> None:
        counter = self._by_name.get((kind, name))
        if counter is None:
            counter = self._by_name[kind, name] = self._ssl.counter(f"{kind}.{name}")
        counter.inc()
