"""
The client's side: what the connections of one cluster share.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any

import attrs
from OpenSSL import SSL

from meshd.interfaces import IScope, ITimers
from meshd.observe.info import address_text
from meshd.tls import callbacks, contexts
from meshd.tls.certificates import Credential
from meshd.tls.contexts import ASK_NOTHING, DEMAND, Verdict
from meshd.tls.handshakes import Handshakes
from meshd.tls.link import NotReady, TLSLink
from meshd.tls.openssl import Ssl, TLSError
from meshd.tls.parameters import Parameters
from meshd.tls.psk import Secrets
from meshd.tls.side import Side
from meshd.tls.validation import Validation

#: Hosts whose sessions are kept.
HOSTS = 1000


@attrs.frozen
class ClientSettings:
    """What a client does besides what both sides do."""

    parameters: Parameters = attrs.field(factory=Parameters)
    sni: str = ""
    #: Take the host's name for the SNI, if it has one.
    auto_sni: bool = False
    #: The certificate must be for the SNI.
    auto_san: bool = False
    #: Sessions kept for each host; 0: none is resumed.
    sessions: int = 1
    #: Whether the cluster waits for secrets that a file may have later.
    psk: Secrets | None = None
    #: What messages call the cluster.
    name: str = ""


class Sessions:
    """The sessions that a client may resume, by host and the name that it was asked for."""

    def __init__(self, each: int) -> None:
        """Keep so many of each host."""
        self._each = each
        self._by_host: OrderedDict[Any, deque[Any]] = OrderedDict()

    def keep(self, host: Any, session: Any) -> None:
        """Keep a session."""
        kept = self._by_host.setdefault(host, deque(maxlen=self._each))
        kept.append(session)
        self._by_host.move_to_end(host)
        if len(self._by_host) > HOSTS:
            self._by_host.popitem(last=False)

    def take(self, host: Any) -> Any | None:
        """Return the youngest session of a host; it stays, until another takes its place."""
        kept = self._by_host.get(host)
        return kept[-1] if kept else None

    def clear(self) -> None:
        """Forget all."""
        self._by_host.clear()


class ClientTerms(Side):
    """Connects with the credential that there is now; use() changes it."""

    is_client = True

    def __init__(
        self, settings: ClientSettings, scope: IScope, timers: ITimers, handshakes: Handshakes
    ) -> None:
        super().__init__(scope, timers, handshakes)
        self.settings = settings
        self.sessions = Sessions(max(1, settings.sessions))
        self._context: SSL.Context | None = None
        self._credential: Credential | None = None
        self._validated = False

    def use(self, credentials: Sequence[Credential], validation: Validation | None) -> None:
        """Connect with these from now on.  Raise BadParameter or CredentialError."""
        settings = self.settings
        parameters = settings.parameters
        credential = credentials[0] if credentials else None
        context = contexts.make(False, parameters, credential, validation)
        if parameters.alpn:
            context.set_alpn_protos(list(parameters.alpn))
        if self.reviewer is not None:
            callbacks.take_staples(context)
        if settings.psk is not None:
            callbacks.offer_psk(context, *settings.psk.offered)
        ask = DEMAND if validation is not None else ASK_NOTHING
        contexts.demand(context, ask, validation, parameters.options)
        if not settings.sessions:
            context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        self._context, self._credential = context, credential
        self._validated = validation is not None
        self.sessions.clear()  # those of another configuration

    def withdraw(self) -> None:
        """Connect no more: a secret is missing."""
        self._context = None

    # What the links ask for.

    def open(self, link: TLSLink, hello: bytes) -> Ssl | None:
        context, settings = self._context, self.settings
        if context is None:
            raise NotReady
        connection = SSL.Connection(context, None)
        connection.set_connect_state()
        host = link.connection.host  # type: ignore[attr-defined]
        name = (settings.auto_sni and host.hostname) or settings.sni
        if name:
            connection.set_tlsext_host_name(name.encode("idna" if not name.isascii() else "ascii"))
        offered = getattr(getattr(link.connection, "upstream", None), "alpn", ())
        if offered and not settings.parameters.alpn:
            connection.set_alpn_protos(list(offered))
        if self.reviewer is not None:
            connection.request_ocsp()
        ssl = Ssl(connection, "SSL_connect", Verdict(name if settings.auto_san else ""))
        ssl.app.session_key = (host.address, name)
        if settings.parameters.key_log is not None:
            ssl.app.ends = (link.connection.local, host.address)  # type: ignore[attr-defined]
        if settings.sessions:
            session = self.sessions.take(ssl.app.session_key)
            if session is not None:
                connection.set_session(session)
        return ssl

    def established(self, link: TLSLink, ssl: Ssl) -> None:
        connecting: Any = link.connection
        upstream = getattr(connecting.info, "upstream", None)
        facts = self.facts(connecting, ssl, upstream is not None)
        facts.local = self._credential.facts if self._credential is not None else None
        self.count(facts, ssl)
        connecting.tls = facts
        if upstream is not None:
            upstream.tls = facts
        self._keep_session(link, ssl)

    def received(self, link: TLSLink, ssl: Ssl) -> None:
        # The tickets of TLS 1.3 come after the handshake, with the first data or before it.
        self._keep_session(link, ssl)

    def _keep_session(self, link: TLSLink, ssl: Ssl) -> None:
        if not self.settings.sessions:
            return
        session = ssl.connection.get_session()
        if session is not None:
            self.sessions.keep(ssl.app.session_key, session)

    def failed(self, link: TLSLink, error: TLSError) -> None:
        session = link.session
        error = self.explain(session.ssl if session is not None else None, error)
        connecting: Any = link.connection
        connecting.failure_reason = error.envoy_text
        connecting.tls_error = error
        self.tell(self.settings.name, address_text(connecting.host.address), error)

    def timed_out(self, link: TLSLink) -> None:
        """Do nothing: the time-out of a client's handshake is the cluster's connect_timeout."""

    def not_ready(self, link: TLSLink) -> None:
        self.stats.not_ready.inc()
        connecting: Any = link.connection
        connecting.failure_reason = "TLS_error:Secret_is_not_supplied_by_SDS"
