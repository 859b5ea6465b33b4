"""
The config: meshd's own, and Envoy's MongoProxy message read into it.

There is no protobuf field for what Envoy's filter does not do, so the filter has
two names: envoy.filters.network.mongo_proxy takes Envoy's message, and
meshd.filters.network.mongo the classes here, which have Envoy's fields and more.
Both make the same filter.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

import attrs
from attrs import validators

from meshd.codec.mongo.framing import KEPT, LONGEST
from meshd.config.plain import seconds
from meshd.plugin import ConfigError

#: What Envoy counts by name of the commands in OP_QUERY, unless told.
COMMANDS = ("delete", "insert", "update")

_NO_TIME = timedelta()
_DENOMINATORS = ("HUNDRED", "TEN_THOUSAND", "MILLION")


@attrs.frozen
class Percentage:
    """A part of all, as Envoy's FractionalPercent has it."""

    numerator: int = attrs.field(validator=validators.ge(0))
    denominator: Literal["HUNDRED", "TEN_THOUSAND", "MILLION"] = "HUNDRED"


ALL = Percentage(100)


@attrs.frozen
class Delay:
    """Envoy's delay: of these requests, each holds its connection up for so long."""

    fixed_delay: timedelta = attrs.field(validator=validators.gt(_NO_TIME))
    percentage: Percentage


@attrs.frozen
class Log:
    """
    A file with a JSON line for each operation: all of them, a sample, or the slow ones.

    Values are replaced by "?" unless redact is false; of a filter no more than
    max_length characters are written.
    """

    path: str = attrs.field(validator=validators.min_len(1))
    slower_than: timedelta = attrs.field(default=_NO_TIME, validator=validators.ge(_NO_TIME))
    sampling: Percentage = ALL
    redact: bool = True
    max_length: int = attrs.field(default=1024, validator=validators.ge(0))


@attrs.frozen
class Bounds:
    """How many names of each kind have statistics of their own; the rest counts as "other"."""

    collections: int = attrs.field(default=100, validator=validators.ge(0))
    callsites: int = attrs.field(default=100, validator=validators.ge(0))
    applications: int = attrs.field(default=100, validator=validators.ge(0))
    drivers: int = attrs.field(default=50, validator=validators.ge(0))
    errors: int = attrs.field(default=100, validator=validators.ge(0))


@attrs.frozen
class Error:
    """What a MongoDB server would answer."""

    code: int
    code_name: str
    message: str
    labels: list[str] = attrs.field(factory=list)


@attrs.frozen
class Match:
    """
    Which requests: all that is given has to hold, of each list one.

    Databases and collections may have * and ? in them; a collection is given as
    users or as shop.users.  An operator is one if it is a name anywhere in the
    request: $where.
    """

    commands: list[str] = attrs.field(factory=list)
    databases: list[str] = attrs.field(factory=list)
    collections: list[str] = attrs.field(factory=list)
    operators: list[str] = attrs.field(factory=list)


@attrs.frozen
class Refusal(Match):
    """Requests that are not passed on, but answered with an error."""

    code: int = 13
    code_name: str = "Unauthorized"
    message: str = "refused by the proxy"

    def __attrs_post_init__(self) -> None:
        """Raise ConfigError if it would refuse everything."""
        if not (self.commands or self.databases or self.collections or self.operators):
            raise ConfigError("what is refused? commands, databases, collections or operators are needed")


@attrs.frozen
class Fault(Match):
    """
    A delay, an error, or one after the other, for a part of the requests.

    runtime_key is one whose value takes the percentage's place.
    """

    delay: timedelta | None = attrs.field(
        default=None, validator=validators.optional(validators.gt(_NO_TIME))
    )
    error: Error | None = None
    percentage: Percentage = ALL
    runtime_key: str = ""

    def __attrs_post_init__(self) -> None:
        """Raise ConfigError if it does nothing."""
        if self.delay is None and self.error is None:
            raise ConfigError("a fault needs a delay or an error")


@attrs.frozen
class Bucket:
    """How many requests at once, and how many more in each fill_interval."""

    max_tokens: int = attrs.field(validator=validators.ge(1))
    fill_interval: timedelta = attrs.field(validator=validators.ge(timedelta(milliseconds=50)))
    tokens_per_fill: int = attrs.field(default=1, validator=validators.ge(1))


@attrs.frozen
class RateLimit(Match):
    """
    A limit on requests, in each worker; each collection has a bucket of its own.

    What is over it is answered with an error that drivers may retry.
    """

    token_bucket: Bucket = attrs.field(kw_only=True)
    max_collections: int = attrs.field(default=1000, validator=validators.ge(1))


@attrs.frozen
class Config:
    """The config of meshd.filters.network.mongo."""

    stat_prefix: str = attrs.field(validator=validators.min_len(1))
    access_log: str = ""
    delay: Delay | None = None
    emit_dynamic_metadata: bool = False
    commands: list[str] = attrs.field(factory=lambda: list(COMMANDS))
    logs: list[Log] = attrs.field(factory=list)
    bounds: Bounds = attrs.field(factory=Bounds)
    refuse: list[Refusal] = attrs.field(factory=list)
    read_only: bool = False
    faults: list[Fault] = attrs.field(factory=list)
    rate_limits: list[RateLimit] = attrs.field(factory=list)
    #: In the server's answers to hello: its members' addresses, and what clients are to be told instead.
    hosts: dict[str, str] = attrs.field(factory=dict)
    #: Bytes of a message that are looked at.
    max_inspected_bytes: int = attrs.field(default=KEPT, validator=validators.ge(1024))
    #: Bytes of a request that may wait until it is known whether it is refused; a longer one is refused.
    max_held_bytes: int = attrs.field(
        default=LONGEST, validator=[validators.ge(1024), validators.le(LONGEST)]
    )


def of_message(message: Any) -> Config:
    """Read Envoy's MongoProxy message; raise ConfigError."""
    delay = None
    if message.HasField("delay"):
        if not message.delay.HasField("fixed_delay"):
            raise ConfigError("a delay needs a fixed_delay", "delay")
        share = message.delay.percentage
        percentage = Percentage(share.numerator, _DENOMINATORS[share.denominator])  # type: ignore[arg-type]
        delay = Delay(timedelta(seconds=seconds(message.delay.fixed_delay)), percentage)
    return Config(
        stat_prefix=message.stat_prefix,
        access_log=message.access_log,
        delay=delay,
        emit_dynamic_metadata=message.emit_dynamic_metadata,
        commands=list(message.commands) or list(COMMANDS),
    )
