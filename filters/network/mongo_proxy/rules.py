"""
Which requests are refused, and with which error: by rule, by read-only mode, by rate, or as a fault.

All that is asked of a request is in a Request, whichever opcode it came by.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import translate
from functools import partial

from meshd.codec import bson
from meshd.codec.mongo import legacy
from meshd.codec.mongo.message import Msg
from meshd.filters.network.mongo_proxy.config import Config, Error, Fault, Match, RateLimit
from meshd.filters.network.mongo_proxy.logs import fraction
from meshd.filters.network.mongo_proxy.stats import ALIASES
from meshd.interfaces import IFactoryContext
from meshd.policy.token_bucket import TokenBucket

#: What read-only mode lets through; whatever is not known to leave data alone is refused.
READ_ONLY = frozenset(
    """
    find getMore killCursors count distinct aggregate mapReduce explain
    hello isMaster ping buildInfo buildinfo connectionStatus hostInfo whatsmyuri getParameter getCmdLineArgs
    getLog serverStatus top currentOp lockInfo listCommands features getLastError getlasterror
    listDatabases listCollections listIndexes collStats dbStats dataSize dbHash dbhash
    saslStart saslContinue authenticate getnonce logout
    startSession endSessions refreshSessions killSessions commitTransaction abortTransaction
    replSetGetStatus replSetGetConfig isdbgrid usersInfo rolesInfo serverInfo atlasVersion
    """.split()
)
#: Commands of the handshake, which nothing refuses: without them a driver cannot even be told.
HANDSHAKE = frozenset(("hello", "isMaster", "saslStart", "saslContinue"))
#: Stages of a pipeline that write.
WRITING_STAGES = frozenset((b"$out", b"$merge"))

READ_ONLY_ERROR = Error(20, "IllegalOperation", "the proxy is in read-only mode")
#: Drivers retry what has these labels; the code is one that tells nothing of the server's state.
LIMITED_ERROR = Error(
    262,
    "ExceededTimeLimit",
    "the rate limit of the proxy is exceeded",
    ["RetryableWriteError", "RetryableError", "SystemOverloadedError"],
)
UNREADABLE_ERROR = Error(
    13, "Unauthorized", "the proxy cannot read this request, and so must not let it pass"
)


@dataclass(slots=True)
class Request:
    """What rules are asked about; documents are the ones that operators are looked for in."""

    command: str
    database: str
    collection: str
    documents: list[tuple[bytes, int]]
    _names: frozenset[bytes] | None = None

    @property
    def full_collection(self) -> str:
        """The collection's name with its database."""
        return f"{self.database}.{self.collection}"

    def names(self) -> frozenset[bytes]:
        """Return all names in the documents, at any depth; raise BsonError."""
        if self._names is None:
            found: set[bytes] = set()
            for data, at in self.documents:
                found.update(bson.names_within(data, at))
            self._names = frozenset(found)
        return self._names


def of_msg(message: Msg) -> Request:
    """Return what an OP_MSG asks; raise BsonError for one that servers might read otherwise than we do."""
    elements = bson.split(message.data, message.body)
    if len(elements) != len(message.fields):
        raise bson.BsonError("a name occurs twice")
    data, fields = message.data, message.fields
    documents = [(data, message.body)]
    for sequence in message.sequences:
        at = 0
        while at < len(sequence.documents):
            documents.append((sequence.documents, at))
            at += bson.length_at(sequence.documents, at)
    return _of_command(data, fields, bson.text(data, fields.get(b"$db")) or "", documents)


def _of_command(
    data: bytes, fields: dict[bytes, bson.Place], database: str, documents: list[tuple[bytes, int]]
) -> Request:
    if not fields:
        raise bson.BsonError("a command without a name")
    raw, place = next(iter(fields.items()))
    name = raw.decode("utf-8", "replace")
    name = ALIASES.get(name, name)
    if name == "getMore":
        place = fields.get(b"collection", place)
    elif name == "explain" and place[0] == bson.DOCUMENT:
        # What is explained may be executed: it is what the rules are about.
        return _of_command(data, bson.fields(data, place[1]), database, documents)
    elif name == "renameCollection":
        whole = (bson.text(data, place) or "").partition(".")
        return Request(name, whole[0], whole[2], documents)
    return Request(name, database, bson.text(data, place) or "", documents)


def of_legacy(message: legacy.Legacy) -> Request:
    """Return what a request of an opcode before OP_MSG asks; raise BsonError."""
    if isinstance(message, legacy.Query):
        database, _, collection = message.collection.partition(".")
        if "$cmd" in message.collection:
            data, at = message.query, 0
            fields = bson.fields(data)
            if fields.get(b"$query", (0, 0))[0] == bson.DOCUMENT:
                at = fields[b"$query"][1]
                fields = bson.fields(data, at)
            if len(bson.split(data, at)) != len(fields):
                raise bson.BsonError("a name occurs twice")
            return _of_command(data, fields, database, [(data, 0)])
        return Request("find", database, collection, [(message.query, 0)])
    if isinstance(message, legacy.Command):
        return Request(message.name, message.database, "", [(message.arguments, 0)])
    if isinstance(message, legacy.KillCursors):
        return Request("killCursors", "", "", [])
    if isinstance(message, legacy.GetMore | legacy.Insert | legacy.Update | legacy.Delete):
        database, _, collection = message.collection.partition(".")
        name = {legacy.GetMore: "getMore", legacy.Insert: "insert", legacy.Update: "update"}.get(
            type(message), "delete"
        )
        return Request(name, database, collection, list(_parts(message)))
    raise bson.BsonError("a reply among requests")


def _parts(message: legacy.Legacy) -> Iterator[tuple[bytes, int]]:
    if isinstance(message, legacy.Insert):
        yield from ((each, 0) for each in message.documents)
    elif isinstance(message, legacy.Update):
        yield from ((message.query, 0), (message.update, 0))
    elif isinstance(message, legacy.Delete):
        yield message.query, 0


# The rules.

Test = Callable[[Request], bool]


def _like(patterns: list[str]) -> Callable[[str], bool]:
    regex = re.compile("|".join(translate(each) for each in patterns))
    return lambda name: regex.match(name) is not None


def matcher(match: Match) -> Test:
    """Return what tells whether a request is one of those; it may raise BsonError."""
    tests: list[Test] = []
    if match.commands:
        commands = frozenset(ALIASES.get(each, each) for each in match.commands)
        tests.append(lambda request: request.command in commands)
    if match.databases:
        database = _like(match.databases)
        tests.append(lambda request: database(request.database))
    if match.collections:
        own = _like([each if "." in each else f"*.{each}" for each in match.collections])
        tests.append(lambda request: bool(request.collection) and own(request.full_collection))
    if match.operators:
        operators = frozenset(each.encode() for each in match.operators)
        tests.append(lambda request: not operators.isdisjoint(request.names()))
    return lambda request: all(test(request) for test in tests)


def writes(request: Request) -> bool:
    """Whether a request may change data; raise BsonError."""
    if request.command not in READ_ONLY:
        return True
    if request.command == "aggregate":
        return not WRITING_STAGES.isdisjoint(request.names())
    return request.command == "mapReduce" and b"inline" not in request.names()


class Limit:
    """A rate limit: a bucket for each collection, of those that were asked for last."""

    def __init__(self, config: RateLimit) -> None:
        bucket = config.token_bucket
        interval = bucket.fill_interval.total_seconds()
        self._make = partial(TokenBucket, bucket.max_tokens, bucket.tokens_per_fill, interval)
        self._most = config.max_collections
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self.matches = matcher(config)

    def take(self, collection: str, now: float) -> bool:
        """Take a token of that collection; return whether there was one."""
        bucket = self._buckets.get(collection)
        if bucket is None:
            bucket = self._buckets[collection] = self._make(now)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(collection)
        return bucket.take(now)


class Injected:
    """A fault of the config."""

    def __init__(self, config: Fault, context: IFactoryContext) -> None:
        self.matches = matcher(config)
        self.error = config.error
        self.delay = config.delay.total_seconds() if config.delay is not None else 0.0
        self.happens = partial(context.runtime.sampled, fraction(config.percentage, config.runtime_key))


@dataclass(slots=True)
class Verdict:
    """What becomes of a request: an error in its place, after a delay; counted is the statistic's name."""

    error: Error | None = None
    counted: str = ""
    delay: float = 0.0


PASS = Verdict()


class Rules:
    """All of them; any says whether there is one, and so whether requests have to wait for a verdict."""

    def __init__(self, config: Config, context: IFactoryContext) -> None:
        self._now = context.clock.seconds
        self._refusals = [
            (matcher(each), Error(each.code, each.code_name, each.message)) for each in config.refuse
        ]
        self._read_only = config.read_only
        self._limits = [Limit(each) for each in config.rate_limits]
        self._faults = [Injected(each, context) for each in config.faults]
        self.any = bool(self._refusals or self._read_only or self._limits or self._faults)
        #: Whether what cannot be read is refused: where only faults and rates are, it is passed on.
        self.strict = bool(self._refusals or self._read_only)

    def judge(self, request: Request) -> Verdict:
        """Return what becomes of a request; raise BsonError if that cannot be told."""
        if request.command in HANDSHAKE:
            return PASS
        for matches, error in self._refusals:
            if matches(request):
                return Verdict(error, "refused")
        if self._read_only and writes(request):
            return Verdict(READ_ONLY_ERROR, "read_only_refused")
        for limit in self._limits:
            if limit.matches(request) and not limit.take(request.full_collection, self._now()):
                return Verdict(LIMITED_ERROR, "rate_limited")
        for fault in self._faults:
            if fault.matches(request) and fault.happens():
                return Verdict(fault.error, "errors_injected" if fault.error else "", fault.delay)
        return PASS
