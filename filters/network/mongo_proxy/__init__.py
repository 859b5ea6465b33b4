"""
Watches MongoDB connections: what is asked, of which collection, how long it takes, what fails.

Decodes what drivers send (OP_MSG, compressed or not) and what they sent before
MongoDB 3.6; Envoy's mongo_proxy knows only the latter.  On demand it also
refuses, limits, delays or fails requests, and keeps drivers of replica sets
behind the proxy.  docs/mongo_proxy.rst is for users.

config.py     both configs: Envoy's message, and meshd's own with more
settings.py   what the connections of a filter chain share
sniffer.py    one connection, watched
guard.py      one connection, watched and controlled; only made if something is to be controlled
operation.py  what a request asks for, and what is counted of it
answers.py    what a reply tells
handshake.py  hello: who connects, and the addresses of a replica set
rules.py      what is refused, limited, failed
stats.py      the statistics' names; names.py bounds those that peers choose
logs.py       log lines; text.py makes text of messages

Serves envoy.extensions.filters.network.mongo_proxy.v3.MongoProxy, and Config.
"""

from __future__ import annotations

import attrs
from envoy.extensions.filters.network.mongo_proxy.v3.mongo_proxy_pb2 import MongoProxy

from meshd.filters.network.mongo_proxy.build import of_config, of_envoy
from meshd.filters.network.mongo_proxy.config import Config
from meshd.plugin import NetworkFilterPlugin

mongo_proxy = NetworkFilterPlugin(
    "envoy.filters.network.mongo_proxy",
    MongoProxy,
    of_envoy,
    serves=(
        "stat_prefix",
        "access_log",
        "delay.fixed_delay",
        "delay.percentage",
        "emit_dynamic_metadata",
        "commands",
    ),
)

#: With another last part than Envoy's name, so that the short form tells them apart.
mongo = NetworkFilterPlugin(
    "meshd.filters.network.mongo",
    Config,
    of_config,
    serves=tuple(field.name for field in attrs.fields(Config)),
)
