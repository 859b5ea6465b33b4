"""
What all TLS contexts of a worker share.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from meshd.tls.handshakes import Handshakes
from meshd.tls.key_log import KeyLogs


@dataclass
class Shared:
    """Made once by the server; plugins find it at IFactoryContext.tls."""

    handshakes: Handshakes
    #: meshd.tls.secrets: the bootstrap's secrets, and those in files.
    secrets: Any = None
    #: meshd.tls.registry: every certificate that is in use.
    registry: Any = None
    key_logs: KeyLogs = field(default_factory=KeyLogs)
