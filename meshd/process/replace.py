"""
A new config in the place of the one that runs.

The new listeners and clusters are made first, whole, so that a wrong config
changes nothing.  Then they take the place of the old ones; who starts it hands
over the sockets.  Connections that there are go on by the config that they
began with.
"""

from __future__ import annotations

import os
from typing import Any

from meshd.config.load import Document, load
from meshd.process.server import Server, connection_limit
from meshd.xds.resources import Resources


class Prepared:
    """A config that can run."""

    def __init__(self, server: Server, options: Any, document: Document) -> None:
        """Raise BadConfig, with all that is wrong."""
        self.server = server
        self.options = options
        self.document = document
        self.context, self.resources = server.make_resources(document)

    def commit(self) -> Resources:
        """Put it in the place of what runs; return the old resources, which look for hosts no more."""
        server = self.server
        old = server.resources
        server.options = self.options
        server.document, server.bootstrap = self.document, self.document.bootstrap
        server.context, server.resources = self.context, self.resources
        server.count.limit = connection_limit(self.document.bootstrap)
        server.retire(old)
        self.resources.start_clusters(lambda: None)
        return old


def prepare(server: Server, options: Any) -> Prepared:
    """Make all of a new config, and change nothing; raise BadConfig, with all that is wrong."""
    document = load(
        options.config_path or None,
        options.config_yaml or None,
        server.plugins,
        allow_unserved=options.allow_unserved,
        allow_unknown_static=options.allow_unknown_static_fields,
        environ=os.environ,
    )
    return Prepared(server, options, document)
