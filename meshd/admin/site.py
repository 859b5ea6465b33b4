"""
The twisted.web Site of the admin page: limits, methods, origins and errors.

Whoever reaches the page may stop meshd: it is to listen where only operators
come.  It guards itself against their browsers (a POST from another origin is
refused) and against clients that are slow or send too much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web import http, server
from twisted.web.resource import Resource

from meshd.admin.commands import ANSWERS
from meshd.admin.gradual import make
from meshd.admin.menu import BY_PATH, help_text
from meshd.admin.query import TEXT, Answer, BadRequest, Query, Server

#: The body of a request may have so many bytes: it is a form, if anything.
BODY_LIMIT = 64 * 1024

#: Seconds for a request to come in, counted from the connection or the response before.
TIMEOUT = 30.0

_FORM = "application/x-www-form-urlencoded"

_HEADERS = (("cache-control", "no-cache, max-age=0"), ("x-content-type-options", "nosniff"))

_log = Logger()


def site(server: Server, reactor: IReactorTime | None = None) -> AdminSite:
    """Return the admin page of server; reactor, the source of time, is Twisted's own if not given."""
    return AdminSite(AdminResource(server, reactor), reactor=reactor)


class AdminResource(Resource):
    """Answers all paths, since Envoy's are compared as a whole."""

    isLeaf = True

    def __init__(self, server: Server, reactor: Any = None) -> None:
        """Without reactor, an answer that takes long is made in one go."""
        super().__init__()
        self._server = server
        self._reactor = reactor

    def render(self, request: Any) -> bytes | int:
        try:
            answer = self.answer(request)
            if isinstance(answer.body, Iterator):
                body = make(answer.body, self._reactor)
                answer = replace(answer, body=b"")
                if isinstance(body, Deferred):
                    self._respond_later(request, answer, body)
                    return server.NOT_DONE_YET
                answer = replace(answer, body=body)
        except BadRequest as error:
            answer = error.answer
        except Exception:
            answer = self._failed(request, Failure())
        return _respond(request, answer)

    def _failed(self, request: Any, failure: Failure) -> Answer:
        _log.failure("admin: {path} failed", failure, path=_path(request))
        return Answer(f"{failure.value.__class__.__name__}: {failure.value}\n", 500)

    def _respond_later(self, request: Any, answer: Answer, body: Deferred[bytes]) -> None:
        """Respond when the body is made, if the client still waits for it."""

        def send(made: bytes) -> None:
            self._finish(request, replace(answer, body=made))

        def fail(failure: Failure) -> None:
            if not failure.check(CancelledError):
                self._finish(request, self._failed(request, failure))

        request.notifyFinish().addErrback(lambda _: body.cancel())
        body.addCallbacks(send, fail)

    def _finish(self, request: Any, answer: Answer) -> None:
        whole = _respond(request, answer)
        request.setHeader("content-length", str(len(whole)))
        request.write(whole)
        request.finish()

    def answer(self, request: Any) -> Answer:
        """Return the answer to request; raises BadRequest, and whatever the command raises."""
        command = BY_PATH.get(_path(request))
        if command is None:
            page = self._server.pages.get(_path(request))
            if page is not None:
                return Answer(page())
            return Answer(f"invalid path. {help_text()}", 404)
        method = request.method.decode("latin-1")
        if command.post:
            if method != "POST":
                return Answer(f"Method {method} not allowed, POST required.", 405)
            _check_origin(request)
        _, _, asked = request.uri.decode("latin-1").partition("?")
        return ANSWERS[command.path](self._server, Query.parse(asked, _form(request)))


def _path(request: Any) -> str:
    return request.path.decode("latin-1")  # type: ignore[no-any-return]


def _form(request: Any) -> str:
    kind = (request.getHeader("content-type") or "").partition(";")[0].strip().lower()
    if request.method != b"POST" or kind != _FORM:
        return ""
    return request.content.read().decode("latin-1").strip()  # type: ignore[no-any-return]


def _check_origin(request: Any) -> None:
    """
    Refuse a request that a browser makes for another site's page.

    Browsers put Origin to every POST; curl and other programs do not.
    """
    origin = request.getHeader("origin")
    host = (request.getHeader("host") or "").lower()
    foreign = origin is not None and urlsplit(origin.lower()).netloc != host
    if foreign or request.getHeader("sec-fetch-site") in ("cross-site", "same-site"):
        raise BadRequest(f"Origin {origin} not allowed.", 403)


def _respond(request: Any, answer: Answer) -> bytes:
    """Set the status and the headers of the response, and return its body."""
    assert not isinstance(answer.body, Iterator)
    request.setResponseCode(answer.status)
    request.setHeader("content-type", answer.content_type)
    for name, value in (*_HEADERS, *answer.headers):
        request.setHeader(name, value)
    request.setHeader("server", "meshd")
    if answer.after is not None:
        request.setHeader("connection", "close")
        _when_closed(request, answer.after)
    return answer.body if isinstance(answer.body, bytes) else answer.body.encode()


def _when_closed(request: Any, callback: Callable[[], object]) -> None:
    """Close the connection after the response, and call back then; without a connection, after it."""
    channel = getattr(request, "channel", None)
    if isinstance(channel, AdminChannel):
        channel.when_closed = callback
        channel.persistent = False
    else:
        request.notifyFinish().addBoth(lambda _: callback())


class AdminRequest(server.Request):
    """A request whose body is bounded."""

    channel: Any
    content: Any

    def gotLength(self, length: int | None) -> None:
        super().gotLength(length)
        if length is not None and length > BODY_LIMIT:
            self.channel.refuse_body()

    def handleContentChunk(self, data: bytes) -> None:
        if self.content.tell() + len(data) > BODY_LIMIT:
            self.channel.refuse_body()
        elif not self.channel.refused:
            super().handleContentChunk(data)

    def process(self) -> None:
        if not self.channel.refused:
            super().process()


class AdminChannel(http.HTTPChannel):
    """A connection: of HTTP/1, since HTTP/2 gives an admin page nothing."""

    requestFactory = AdminRequest
    refused = False
    when_closed: Callable[[], object] | None = None

    def dataReceived(self, data: bytes) -> None:
        # Not HTTPChannel's: there each byte gives the client new time, so that
        # one byte a minute would hold the connection for ever.
        assert self.transport is not None
        if not (self.refused or self.transport.disconnecting):  # type: ignore[attr-defined]
            LineReceiver.dataReceived(self, data)

    def refuse_body(self) -> None:
        """Answer that the body is too long, and close."""
        if self.refused:
            return
        self.refused = True
        text = b"Payload Too Large"
        assert self.transport is not None
        self.transport.write(
            b"HTTP/1.1 413 Payload Too Large\r\ncontent-type: %s\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%s" % (TEXT.encode(), len(text), text)
        )
        self.loseConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        super().connectionLost(reason)
        if self.when_closed is not None:
            callback, self.when_closed = self.when_closed, None
            callback()


class AdminSite(server.Site):
    """The Site: it logs requests to meshd's own log, at debug."""

    protocol = AdminChannel  # type: ignore[assignment]
    requestFactory = AdminRequest
    noisy = False

    def __init__(self, resource: AdminResource, reactor: IReactorTime | None = None) -> None:
        super().__init__(resource, timeout=TIMEOUT, reactor=reactor, parsePOSTFormSubmission=False)

    def startFactory(self) -> None:
        """Open no log: Twisted's would be its own, with a timer that ticks each second."""

    def stopFactory(self) -> None:
        """Close no log."""

    def log(self, request: Any) -> None:
        _log.debug(
            "admin: {method} {uri} {code}",
            method=request.method.decode("latin-1"),
            uri=request.uri.decode("latin-1"),
            code=request.code,
        )
