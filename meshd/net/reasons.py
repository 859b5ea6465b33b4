"""Why a connection is over, as protocols are told."""

from __future__ import annotations

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.python.failure import Failure


class ConnectionReset(ConnectionLost):
    """The peer ended the connection with a RST, or it broke."""


#: Made once: a Failure costs more than closing a connection does.
DONE = Failure(ConnectionDone())
RESET = Failure(ConnectionReset())
ABORTED = Failure(ConnectionAborted())
