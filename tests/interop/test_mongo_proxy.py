"""mongo_proxy against Envoy's, for the opcodes that Envoy knows."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import bson
import pytest

from meshd.codec.mongo import legacy
from tests.codec.mongo.messages import msg
from tests.integration.mongo import behind, envoys
from tests.interop.case import Case
from tests.interop.mongo_wire import ANSWER, answer_to, ask, old_server, query, read_message
from tests.interop.peers import FIN, Peer, wait_until
from tests.interop.yaml_parts import access_log, bootstrap, chain, cluster, listener, tcp_proxy

RAW = bson.encode(ANSWER)
OP_MSG = msg({"ping": 1, "$db": "admin"})
#: Makes a query one that the server does not answer.
NEVER = {"never": True}
#: Queries: the collection, the document, the flags, what the server answers.
QUERIES: list[tuple[str, dict[str, Any], int, dict[str, Any]]] = [
    ("db.users", {"_id": 5}, 0, {}),
    ("db.users", {"_id": {"$in": [1, 2]}}, 0, {"documents": 2}),
    ("db.users", {"_id": [1, 2]}, 0, {"documents": 3}),
    ("db.users", {"name": "x"}, 0, {"documents": 7}),
    ("db.users", {}, 0, {"documents": 0}),
    ("db.users", {"$query": {"_id": 1}}, 0, {}),
    ("db.users", {"$query": {"name": 1}, "$orderby": {"name": 1}}, 0, {}),
    ("db.users", {"$query": {"_id": {"$gt": 1}}, "$maxTimeMS": 50}, 0, {}),
    ("db.users", {"_id": 1, "$maxTimeMS": bson.Int64(70)}, 0, {}),
    ("db.users", {"_id": 1, "maxTimeMS": 70}, 0, {}),
    ("db.users", {"_id": 1, "$maxTimeMS": 0}, 0, {}),
    ("db.users", {"_id": 1, "$comment": json.dumps({"callingFunction": "getUsers", "x": 1})}, 0, {}),
    ("db.users", {"a": 1, "$comment": json.dumps({"callingFunction": "getUsers"})}, 0, {"documents": 2}),
    ("db.users", {"_id": 1, "$comment": "no JSON"}, 0, {}),
    ("db.users", {"_id": 1, "$comment": "[1]"}, 0, {}),
    ("db.users", {"_id": 1, "$comment": '{"callingFunction": 1}'}, 0, {}),
    ("db.a.b", {"_id": 1}, 0, {}),
    ("db.tail", {"a": 1}, 0x02 | 0x10 | 0x20, {"cursor": 77}),
    ("db.tail", {"a": 1}, 0x40, {"flags": 8 | 1}),
    ("db.tail", {"a": 1}, 0, {"flags": 8 | 2}),
    ("db.$cmd", {"insert": "users", "documents": []}, 0, {}),
    ("db.$cmd", {"update": "users"}, 0, {}),
    ("db.$cmd", {"delete": "users"}, 0, {}),
    ("db.$cmd", {"$query": {"insert": "users"}}, 0, {}),
    ("admin.$cmd", {"ismaster": 1}, 0, {}),
    ("db.$cmd", {"count": "users"}, 0, {}),
    ("db.$cmd", {"find": "users", "filter": {"_id": 1}, "comment": '{"callingFunction": "f"}'}, 0, {}),
    ("db.$cmd", {"find": "users", "filter": {"_id": {"$in": []}}, "maxTimeMS": 5}, 0, {}),
    ("db.$cmd", {"find": "users", "filter": {"x": 1}}, 0, {}),
    ("db.$cmd", {"find": "users"}, 0, {}),
]


def start(case: Case, script: Any = old_server, **fields: Any) -> Any:
    """Start the proxy before an old server; histograms are merged often."""
    case.compare_log = False
    backend = case.backend(script)
    return case.start(behind(envoys(**fields), backend, stats_flush_interval="0.1s"))


def histograms(case: Case) -> list[str]:
    """Wait for the histograms of documents and sizes, and return them."""
    lines = case.proxy.get("/stats?filter=reply_(num_docs|size)&usedonly").text.splitlines()
    return [
        re.sub(r"P[\d.]+\([^,]*,([^)]*)\)", lambda found: f"{float(found[1]):.6g}", line)
        for line in sorted(lines)
    ]


def test_queries(case: Case) -> None:
    """Queries of every shape, and commands, count the same, document sizes included."""
    start(case)
    client = case.client()
    for number, (collection, document, flags, answer) in enumerate(QUERIES):
        assert ask(client, query(collection, document, number, flags, answer))
    case.proxy.await_stat("mongo.m.op_reply", len(QUERIES))
    seen: list[list[str]] = []

    def settled() -> bool:
        seen.append(histograms(case))
        return len(seen) > 20 and len(seen[-1]) >= 10 and seen[-1] == seen[-20]

    wait_until(settled, "the histograms to be merged")
    case.note(histograms=seen[-1])
    assert case.proxy.stat("mongo.m.op_query_scatter_get") > 0


def test_commands_option(case: Case) -> None:
    """The commands that have names are those that the config says."""
    start(case, commands=["count", "isMaster"])
    client = case.client()
    for number, name in enumerate(("count", "isMaster", "ismaster", "insert", "findandmodify")):
        ask(client, query("db.$cmd", {name: "users"}, number))
    case.proxy.await_stat("mongo.m.op_reply", 5)


def test_other_opcodes(case: Case) -> None:
    """OP_INSERT, OP_GET_MORE, OP_KILL_CURSORS, OP_COMMAND and OP_COMMANDREPLY are counted."""
    start(case)
    client = case.client()
    for message in (
        legacy.Insert(1, 0, 0, "db.users", [RAW, RAW]),
        legacy.KillCursors(2, 0, [1, 2]),
        legacy.Command(3, 0, "db", "ping", RAW, RAW, []),
        legacy.CommandReply(4, 3, RAW, RAW, []),
    ):
        client.send(legacy.encode(message))
    assert ask(client, legacy.encode(legacy.GetMore(5, 0, "db.users", 10, 77)))
    case.proxy.await_stat("mongo.m.op_reply", 1)


def test_pipelined_in_pieces(case: Case) -> None:
    """Messages that come together, or in pieces, are the same."""
    start(case)
    client = case.client()
    wire = b"".join(query("db.users", {"_id": number}, number) for number in range(20))
    for at in range(0, len(wire), 37):
        client.send(wire[at : at + 37])
    for _ in range(20):
        assert read_message(client)
    case.proxy.await_stat("mongo.m.op_reply", 20)


def test_active(case: Case) -> None:
    """A query that is not answered is active."""
    start(case)
    backend: Any = case.things[0]
    client = case.client()
    client.send(query("db.users", {"_id": 1}, 1, answer=NEVER))
    case.proxy.await_stat("mongo.m.op_query_active", 1)
    wait_until(lambda: backend.peers and backend.peers[0].received, "the query at the server")


def test_destroyed_by_client(case: Case) -> None:
    """A client that goes with a query unanswered, by a reset."""
    start(case)
    backend: Any = case.things[0]
    client = case.client()
    client.send(query("db.users", {"_id": 1}, 1, answer=NEVER))
    case.proxy.await_stat("mongo.m.op_query_active", 1)
    wait_until(lambda: backend.peers and backend.peers[0].received, "the query at the server")
    client.reset()
    case.proxy.await_stat("mongo.m.op_query_active", 0)


def test_destroyed_by_client_fin(case: Case) -> None:
    """A client that goes with a query unanswered, by a FIN: the server's end then ends it."""
    start(case)
    client = case.client()
    client.send(query("db.users", {"_id": 1}, 1, answer=NEVER))
    case.proxy.await_stat("mongo.m.op_query_active", 1)
    client.half_close()
    assert client.read_to_end() == (b"", FIN)
    case.proxy.await_stat("mongo.m.op_query_active", 0)


def closes(peer: Peer) -> None:
    """Take a query and close."""
    read_message(peer)


def test_destroyed_by_server(case: Case) -> None:
    """A server that closes with a query unanswered."""
    start(case, closes)
    client = case.client()
    client.send(query("db.users", {"_id": 1}, 1))
    assert client.read_to_end() == (b"", FIN)
    client.close()
    case.proxy.await_stat("mongo.m.op_query_active", 0)


LOGGED = [
    query("db.users", {"_id": 5, "s": 'a "quoted"\ntext', "d": 1.5, "n": None, "b": True, "l": [1, "x"]}),
    query("db.users", {"$query": {"a": {"b": {"c": -1}}}, "t": bson.Int64(1 << 40)}, flags=4),
    legacy.encode(legacy.Query(3, 0, 0, "db.users", 2, -1, RAW, bson.encode({"name": 1}))),
    legacy.encode(legacy.GetMore(5, 0, "db.users", 10, 77)),
]
UNANSWERED = [
    legacy.encode(legacy.Insert(1, 0, 1, "db.users", [RAW, RAW])),
    legacy.encode(legacy.KillCursors(2, 0, [1, -2])),
    legacy.encode(legacy.Command(3, 0, "db", "ping", RAW, RAW, [RAW])),
    legacy.encode(legacy.CommandReply(4, 3, RAW, RAW, [])),
]


def test_log(case: Case) -> None:
    """The log has Envoy's lines, letter for letter but for the time."""
    path = case.directory / "mongo.log"
    start(case, access_log=str(path))
    client = case.client()
    for message in UNANSWERED:
        client.send(message)
    for message in LOGGED:
        assert ask(client, message)
    count = len(UNANSWERED) + 2 * len(LOGGED)
    wait_until(lambda: len(case.proxy.lines(path)) == count, "the log")
    lines = case.proxy.lines(path)
    assert all(re.match(r'\{"time": "\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", ', line) for line in lines)
    port = case.things[0].port
    case.note(lines=[re.sub('"time": "[^"]*"', "", line).replace(str(port), "PORT") for line in lines])
    assert all(json.loads(line) for line in lines)


@pytest.mark.parametrize(
    "key", ["mongo.connection_logging_enabled", "mongo.logging_enabled", "mongo.proxy_enabled"]
)
def test_runtime(case: Case, key: str) -> None:
    """Runtime turns the log off, or all of it."""
    case.compare_log = False
    path = case.directory / "mongo.log"
    layers = {"layers": [{"name": "s", "static_layer": {key: 0}}]}
    filter_ = envoys(access_log=str(path))
    case.start(behind(filter_, case.backend(old_server), layered_runtime=layers))
    client = case.client()
    assert ask(client, query("db.users", {"_id": 5}))
    case.note(lines=case.proxy.lines(path), counted=case.proxy.stat("mongo.m.op_query"))
    assert case.proxy.lines(path) == []


def test_delay(case: Case) -> None:
    """A request waits for the time of the delay, and is counted."""
    start(case, delay={"fixed_delay": "1s", "percentage": {"numerator": 100}})
    client = case.client()
    client.sock.settimeout(0.2)
    client.send(query("db.users", {"_id": 5}))
    with pytest.raises(TimeoutError):
        client.some()
    client.sock.settimeout(5)
    assert read_message(client)
    case.proxy.await_stat("mongo.m.delays_injected", 1)


@pytest.mark.parametrize("values", [{"percent": 0}, {"duration_ms": 0}])
def test_no_delay(case: Case, values: dict[str, int]) -> None:
    """Runtime's percentage and duration go before those of the config."""
    case.compare_log = False
    keys = {f"mongo.fault.fixed_delay.{name}": value for name, value in values.items()}
    filter_ = envoys(delay={"fixed_delay": "60s", "percentage": {"numerator": 100}})
    layers = {"layers": [{"name": "s", "static_layer": keys}]}
    case.start(behind(filter_, case.backend(old_server), layered_runtime=layers))
    assert ask(case.client(), query("db.users", {"_id": 5}))
    case.note(delays=case.proxy.stat("mongo.m.delays_injected"))


def test_drain(case: Case) -> None:
    """While the proxy drains, a connection is closed after the answer that it waits for."""
    proxy = start(case)
    client = case.client()
    assert ask(client, query("db.users", {"_id": 5}))
    proxy.post("/healthcheck/fail")
    client.send(query("db.users", {"_id": 5}, 6))
    answer, ending = client.read_to_end()
    assert (answer, ending) == (answer_to(query("db.users", {"_id": 5}, 6)), FIN)
    case.proxy.await_stat("mongo.m.cx_drain_close", 1)


def test_metadata(case: Case) -> None:
    """What is done to which collection is dynamic metadata."""
    case.compare_log = False
    log = access_log("LOG", "%DYNAMIC_METADATA(envoy.filters.network.mongo_proxy)%\n")
    front = listener(chain(envoys(emit_dynamic_metadata=True), tcp_proxy(access_log=log)))
    backend = case.backend(old_server)
    case.start(bootstrap(front, clusters=[cluster(backend)]))
    client = case.client()
    never = query("db.users", {"_id": 5}, 2, answer=NEVER)
    said = legacy.encode(legacy.Insert(1, 0, 0, "db.other", [RAW])) + never + never
    client.send(said)
    case.proxy.await_stat("mongo.m.op_query", 2)
    wait_until(lambda: backend.peer().received == said, "the backend to have all")
    client.reset()
    wait_until(case.proxy.lines, "the log")
    (line,) = case.proxy.lines()
    case.note(metadata=json.loads(line))
    assert json.loads(line) == {"db.other": ["insert"], "db.users": ["query", "query"]}


DAMAGED = {
    "a type that there is not": query("db.users", {"a": 1})[:-6] + b"\x7ea\0\0\0\0",
    "a collection without a database": query("users", {"_id": 1}),
    "a command without a name": query("db.$cmd", {}),
    "an unknown opcode": struct.pack("<iiii", 16, 1, 0, 4711),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged(case: Case, name: str) -> None:
    """A message that cannot be read is a decoding error, and passes."""
    start(case, Recorder())
    client = case.client()
    client.send(DAMAGED[name])
    case.proxy.await_stat("mongo.m.decoding_error", 1)
    backend: Any = case.things[0]
    wait_until(lambda: bytes(backend.peer().received) == DAMAGED[name], "the message at the server")
    case.ignore("op_query$|op_unknown$", "Envoy counts the query before it looks into it")


def test_backslash(kind: str, tmp_path: Path) -> None:
    """A backslash in a string: Envoy's line is no JSON then, meshd's is."""
    alone = Case(kind, tmp_path)
    try:
        path = tmp_path / "mongo.log"
        start(alone, access_log=str(path))
        assert ask(alone.client(), query("db.users", {"s": "\\ \x01"}))
        wait_until(lambda: len(alone.proxy.lines(path)) == 2, "the log")
        (line, _) = alone.proxy.lines(path)
        if kind == "meshd":
            assert json.loads(line)["message"]["query"]["s"] == "\\ \x01"
        else:
            assert r"\\" not in line
    finally:
        alone.close()


def test_goes_on(kind: str, tmp_path: Path) -> None:
    """After an unknown opcode, or an OP_MSG, Envoy counts no more on that connection; meshd goes on."""
    alone = Case(kind, tmp_path)
    try:
        start(alone)
        client = alone.client()
        client.send(struct.pack("<iiii", 16, 1, 0, 4711))
        client.send(OP_MSG)
        assert ask(client, query("db.users", {"_id": 1}))
        alone.proxy.await_stat("mongo.m.decoding_error", 1)
        assert alone.proxy.stat("mongo.m.op_query") == (0 if kind == "envoy" else 1)
        assert alone.proxy.stat("mongo.m.op_msg") == (0 if kind == "envoy" else 1)
    finally:
        alone.close()


class Recorder:
    """A server that only reads."""

    def __call__(self, peer: Peer) -> None:
        peer.read_to_end()


TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.json"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(case: Case, path: Path) -> None:
    """What old drivers really sent, and were answered: see transcripts/README.rst."""
    messages = [(way, bytes.fromhex(text)) for way, text in json.loads(path.read_text())["messages"]]

    def replay(peer: Peer) -> None:
        for way, data in messages:
            if way == "client":
                assert peer.read(len(data)) == data
            else:
                peer.send(data)
        peer.read_to_end()

    start(case, replay)
    case.ignore(r"mongo\.m\.(driver|server)\.", "Envoy does not look into handshakes")
    client = case.client()
    for way, data in messages:
        if way == "client":
            client.send(data)
        else:
            assert client.read(len(data)) == data
    replies = sum(way == "server" for way, _ in messages)
    case.proxy.await_stat("mongo.m.op_reply", replies)
    assert answer_to(messages[0][1]) is not None
