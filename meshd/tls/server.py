"""
The server's side: what the connections of one filter chain share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from OpenSSL import SSL

from meshd.codec.client_hello import ProtocolError, parse
from meshd.interfaces import IScope, ITimers
from meshd.observe.info import address_text
from meshd.tls import callbacks, contexts, openssl
from meshd.tls.certificates import Credential
from meshd.tls.choice import Choice
from meshd.tls.contexts import ASK, ASK_NOTHING, DEMAND, Verdict
from meshd.tls.flags import OPTIONS
from meshd.tls.handshakes import Handshakes
from meshd.tls.link import NotReady, TLSLink
from meshd.tls.openssl import Ssl, TLSError
from meshd.tls.parameters import Parameters
from meshd.tls.psk import Secrets
from meshd.tls.side import Side
from meshd.tls.stapling import Stapling
from meshd.tls.validation import Validation

#: Bytes of a ClientHello that are looked at for the choice of a certificate.
HELLO_LIMIT = 65536
#: The extension by which a client asks for an OCSP response (RFC 6066, 8).
STATUS_REQUEST = 5


@attrs.frozen
class ServerSettings:
    """What a server does besides what both sides do."""

    parameters: Parameters = attrs.field(factory=Parameters)
    require_certificate: bool = False
    #: Session tickets, and a cache of sessions.
    stateless: bool = True
    stateful: bool = True
    #: Seconds that a session may be resumed; None: OpenSSL's two hours.
    session_timeout: int | None = None
    full_scan: bool = False
    client_preference: bool = False
    psk: Secrets | None = None
    #: What makes the connections, in place of certificates of the config (meshd.tls.provider).
    provider: Callable[[Any], SSL.Connection] | None = None
    #: Tells sessions of this configuration from those of others.
    name: str = ""


class ServerTerms(Side):
    """Serves with the credentials that there are now; use() changes them."""

    is_client = False

    def __init__(
        self,
        settings: ServerSettings,
        scope: IScope,
        timers: ITimers,
        handshakes: Handshakes,
        timeout: float,
        stapling: Stapling | None = None,
    ) -> None:
        super().__init__(scope, timers, handshakes)
        self.settings = settings
        self.timeout = timeout
        self.stapling = stapling
        self._single: tuple[Credential | None, SSL.Context] | None = None
        self._choice: Choice | None = None

    def use(self, credentials: Sequence[Credential], validation: Validation | None) -> None:
        """
        Serve with these from now on; connections that there are go on with what they have.

        With no credentials, and no pre-shared keys, nobody can be served.  Raise
        BadParameter or CredentialError.
        """
        made = [(each, self._context(each, validation)) for each in credentials]
        if self.stapling is not None:
            self.stapling.keep(credentials)
        self._single, self._choice = None, None
        if len(made) > 1:
            self._choice = Choice(
                [(each, (each, context)) for each, context in made], self.settings.full_scan
            )
        elif made:
            self._single = made[0]
        elif self.settings.psk is not None:
            self._single = (None, self._context(None, validation))

    def withdraw(self) -> None:
        """Serve nobody: a secret is missing."""
        self._single, self._choice = None, None

    def _context(self, credential: Credential | None, validation: Validation | None) -> SSL.Context:
        settings = self.settings
        parameters = settings.parameters
        context = contexts.make(True, parameters, credential, validation)
        _set_sessions(context, settings, credential, validation)
        if parameters.alpn:
            context.set_alpn_select_callback(_selector(parameters.alpn))
        if not settings.client_preference:
            openssl.set_options(context, OPTIONS["CIPHER_SERVER_PREFERENCE"])
        if settings.psk is not None:
            callbacks.serve_psk(context, settings.psk.find)
        if self.stapling is not None and credential is not None:
            self.stapling.install(context, credential)
        contexts.demand(context, self._ask(validation), validation, parameters.options)
        return context

    def _ask(self, validation: Validation | None) -> int:
        asked = {"": None, "no": ASK_NOTHING, "request": ASK, "require": DEMAND}[
            self.settings.parameters.options.request_certificate
        ]
        if asked is not None:
            return asked
        if self.settings.require_certificate or (validation is not None and validation.demands_certificate):
            return DEMAND
        return ASK if validation is not None and validation.requests_certificate else ASK_NOTHING

    # What the links ask for.

    def open(self, link: TLSLink, hello: bytes) -> Ssl | None:
        if self.settings.provider is not None:
            return Ssl(self.settings.provider(link), "SSL_accept", Verdict())
        chosen = self._single or self._choose(hello)
        if chosen is None:
            return None
        credential, context = chosen
        connection = SSL.Connection(context, None)
        connection.set_accept_state()
        ssl = Ssl(connection, "SSL_accept", Verdict(credential=credential))
        if self.settings.parameters.key_log is not None:
            info = link.connection.info
            ssl.app.ends = (info.direct_local, info.direct_remote)
        return ssl

    def _choose(self, hello: bytes) -> Any:
        if self._choice is None:
            raise NotReady
        try:
            parsed = parse(hello, HELLO_LIMIT)
        except ProtocolError:
            return self._choice.first  # OpenSSL will say what is wrong with it
        if parsed is None:
            return None
        if STATUS_REQUEST in parsed.bodies and self.stapling is not None:
            return self._choice.choose(parsed, self.stapling.allows)
        return self._choice.choose(parsed)

    def established(self, link: TLSLink, ssl: Ssl) -> None:
        connection: Any = link.connection
        facts = self.facts(connection, ssl, connection.logged)
        credential = ssl.app.credential
        facts.local = credential.facts if credential is not None else None
        self.count(facts, ssl)
        info = connection.info
        info.tls = facts

    def received(self, link: TLSLink, ssl: Ssl) -> None:
        pass

    def failed(self, link: TLSLink, error: TLSError) -> None:
        session = link.session
        ssl = session.ssl if session is not None else None
        error = self.explain(ssl, error)
        info: Any = link.connection.info
        if info.tls is None:
            info.tls = self.facts_of_failure(ssl)
        info.transport_failure_reason = error.envoy_text
        info.tls_error = error
        self.tell(self.settings.name, address_text(info.remote), error)

    def timed_out(self, link: TLSLink) -> None:
        connection: Any = link.connection
        connection.owner.handshake_timeouts.inc()
        connection.info.termination_details = "transport socket timeout was reached"
        connection.info.local_close_reason = "transport_socket_timeout"

    def not_ready(self, link: TLSLink) -> None:
        self.stats.not_ready.inc()
        link.connection.info.transport_failure_reason = "TLS_error:Secret_is_not_supplied_by_SDS"


def _set_sessions(
    context: SSL.Context,
    settings: ServerSettings,
    credential: Credential | None,
    validation: Validation | None,
) -> None:
    resume = settings.parameters.options.session_resume
    if not (resume and settings.stateless):
        openssl.set_options(context, OPTIONS["NO_TICKET"])
    context.set_session_cache_mode(
        SSL.SESS_CACHE_SERVER if resume and settings.stateful else SSL.SESS_CACHE_OFF
    )
    if settings.session_timeout is not None:
        context.set_timeout(settings.session_timeout)
    shown = credential.facts.sha256 if credential is not None else ""
    wanted = validation.settings if validation is not None else None
    context.set_session_id(contexts.session_context(settings.name, settings.parameters, shown, wanted))


def _selector(ours: tuple[bytes, ...]) -> Any:
    """Return the callback that chooses a protocol of ALPN: our first that the client has, as Envoy."""

    def select(connection: Any, theirs: list[bytes]) -> Any:
        return next((each for each in ours if each in theirs), SSL.NO_OVERLAPPING_PROTOCOLS)

    return select
