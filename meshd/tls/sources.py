"""
Data sources of certificates and keys, and the files behind them.

Readers of a secret's message get its bytes by a Sources, which keeps what has to
be watched for the secret to be read anew.
"""

from __future__ import annotations

import hashlib
from typing import Any

from meshd.config.plain import data_source
from meshd.tls.watch import State, state_of


class Sources:
    """Reads the data sources of one message."""

    def __init__(self) -> None:
        #: What is to be watched: the files, and the directories that they are said to change with.
        self.states: dict[str, State | None] = {}
        self._digest = hashlib.sha256()

    def read(self, source: Any) -> bytes:
        """Return the bytes of a DataSource.  Raise ConfigError."""
        if source.HasField("watched_directory"):
            self.directory(source.watched_directory)
        # Before it is read: what changes meanwhile is read again.
        if source.WhichOneof("specifier") == "filename":
            self.states.setdefault(source.filename, state_of(source.filename))
        data = data_source(source, watched=True)
        self._digest.update(b"%d:" % len(data))
        self._digest.update(data)
        return data

    def directory(self, watched: Any) -> None:
        """Note a WatchedDirectory."""
        if watched.path:
            self.states.setdefault(watched.path, state_of(watched.path))

    @property
    def digest(self) -> bytes:
        """What tells whether anything that was read differs from another time."""
        return self._digest.digest()


def is_watched(message: Any) -> bool:
    """Whether a TlsCertificate or CertificateValidationContext says that its files are to be watched."""
    if message.HasField("watched_directory"):
        return True
    return any(
        field.message_type is not None
        and field.message_type.full_name == "envoy.config.core.v3.DataSource"
        and value.HasField("watched_directory")
        for field, value in message.ListFields()
        if not field.is_repeated
    )
