"""The mongo filter between real drivers and a server that speaks MongoDB's protocol: see mongo.py beside."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import pymongo
import pytest
from pymongo.errors import AutoReconnect, BulkWriteError, OperationFailure

from tests.integration.mongo import Server, behind, client, mongod, own, port_of, served
from tests.integration.mongo_double import Member, Shim
from tests.interop.case import Case
from tests.interop.oracle import Proxy
from tests.interop.peers import wait_until
from tests.interop.tls_parts import client_tls, server_tls, trusting
from tests.interop.yaml_parts import bootstrap, chain, cluster, listener, tcp_proxy
from tests.ports import free_port
from tests.tls.authority import Authority

COMPRESSORS = {"snappy": 1, "zlib": 2, "zstd": 3}


def numbers(proxy: Proxy) -> dict[str, int]:
    """Return the filter's statistics, by their names below the prefix."""
    found = proxy.stats("^mongo[.]m[.]")
    return {name.removeprefix("mongo.m."): value for name, value in found.items() if value}


def test_operations(case: Case) -> None:
    """Each operation counts for its command and its collection; nothing is an error."""
    with served(case, own()) as (proxy, mongo):
        users = mongo.db.users
        users.insert_many([{"_id": number, "n": number} for number in range(300)])
        assert users.find_one({"_id": 7}) == {"_id": 7, "n": 7}
        assert len(list(users.find({"n": {"$lt": 250}}, batch_size=50))) == 250
        assert users.find_one({"_id": {"$in": [1, 2]}})
        users.update_one({"_id": 1}, {"$set": {"x": 1}})
        users.find_one_and_update({"_id": 2}, {"$set": {"x": 1}})
        users.delete_one({"_id": 3})
        assert users.count_documents({}) == 299
        assert len(users.distinct("n")) == 299
        found = numbers(proxy)
    for name, count in {
        "cmd.insert.total": 1,
        "cmd.find.total": 3,
        "cmd.update.total": 1,
        "cmd.findAndModify.total": 1,
        "cmd.delete.total": 1,
        "cmd.aggregate.total": 1,
        "cmd.distinct.total": 1,
        "collection.users.query.total": 3,
        "collection.users.query.scatter_get": 1,
        "collection.users.query.multi_get": 1,
        "cursor_opened": 1,
    }.items():
        assert found.get(name) == count, (name, found)
    assert found["cmd.getMore.total"] == found["cursor_continued"] >= 4
    assert found["op_msg"] == found["op_msg_reply"]
    assert "decoding_error" not in found


def test_a_lot(case: Case) -> None:
    """Many documents, in bulk, from several threads' worth of connections, arrive as they were."""
    with served(case, own()) as (proxy, mongo):
        users = mongo.db.users
        text = "x" * 10_000
        for start in range(0, 2000, 500):
            users.insert_many([{"_id": number, "text": text} for number in range(start, start + 500)])
        assert sum(len(each["text"]) for each in users.find()) == 2000 * 10_000
        operations: list[Any] = [
            pymongo.UpdateOne({"_id": number}, {"$set": {"y": 1}}) for number in range(100)
        ]
        operations += [pymongo.DeleteOne({"_id": number}) for number in range(50)]
        operations += [pymongo.InsertOne({"_id": 5000 + number}) for number in range(50)]
        result = users.bulk_write(operations)
        assert (result.modified_count, result.deleted_count, result.inserted_count) == (100, 50, 50)
        assert "decoding_error" not in numbers(proxy)


def test_errors(case: Case) -> None:
    """Errors count by the names of their codes, those of single writes too."""
    with served(case, own()) as (proxy, mongo):
        mongo.db.users.insert_one({"_id": 1})
        with pytest.raises(BulkWriteError):
            mongo.db.users.insert_many([{"_id": 1}])
        found = numbers(proxy)
        assert found["write_errors"] == 1
        assert found["error.DuplicateKey"] == 1


def test_applications(case: Case) -> None:
    """Connections count by application while they live; a second client brings another."""
    with served(case, own(), appName="shop") as (proxy, mongo):
        mongo.db.users.find_one({"_id": 1})
        other = client(proxy, appName="bank")
        other.db.users.find_one({"_id": 1})
        found = numbers(proxy)
        assert found["application.shop.cx_active"] and found["application.bank.cx_active"]
        assert found["collection.users.callsite.shop.query.total"] == 1
        other.close()
        wait_until(lambda: "application.bank.cx_active" not in numbers(proxy), "the bank to be gone")
        found = numbers(proxy)
        assert found["application.bank.cx_total"]
        assert any(name.startswith("driver.PyMongo") for name in found)


def test_comment(case: Case) -> None:
    """A comment's callingFunction is the callsite."""
    with served(case, own()) as (proxy, mongo):
        mongo.db.users.find_one({"_id": 1}, comment=json.dumps({"callingFunction": "getUsers"}))
        assert numbers(proxy)["collection.users.callsite.getUsers.query.total"] == 1


def test_sessions(case: Case) -> None:
    """Sessions and transactions pass, and are counted (by a member double, since nx-27017 has none)."""
    with replica_set(case) as (proxy, mongo, _):
        with mongo.start_session() as session:
            with session.start_transaction():
                mongo.db.users.insert_one({"_id": 1}, session=session)
            with session.start_transaction():
                mongo.db.users.insert_one({"_id": 2}, session=session)
                session.abort_transaction()
        found = numbers(proxy)
        assert (found["transaction_started"], found["transaction_committed"]) == (2, 1)
        assert found["transaction_aborted"] == 1


def test_async(case: Case) -> None:
    """pymongo's asynchronous API, many operations at once."""

    async def work(proxy: Proxy) -> None:
        driver: Any = pymongo.AsyncMongoClient("127.0.0.1", port_of(proxy), directConnection=True)
        async with driver as mongo:
            users = mongo.db.users
            await asyncio.gather(*(users.insert_one({"_id": number}) for number in range(50)))
            found = await asyncio.gather(*(users.find_one({"_id": number}) for number in range(50)))
            assert [each["_id"] for each in found if each] == list(range(50))

    with served(case, own()) as (proxy, _):
        asyncio.run(work(proxy))
        found = numbers(proxy)
        assert (found["cmd.insert.total"], found["cmd.find.total"]) == (50, 50)


@pytest.mark.parametrize("name", COMPRESSORS)
def test_compressors(case: Case, name: str) -> None:
    """What is compressed is counted as what is in it."""
    case.compare_log = False
    server = case.have(Server(case.directory / "mongo"))
    shim = case.have(Shim(server.port, COMPRESSORS[name]))
    proxy = case.start(behind(own(), shim))
    mongo = client(proxy, compressors=name)
    try:
        mongo.db.users.insert_many([{"_id": number, "text": "x" * 100} for number in range(300)])
        assert len(list(mongo.db.users.find({}, batch_size=100))) == 300
    finally:
        mongo.close()
    found = numbers(proxy)
    assert shim.seen >= 4
    assert found["op_compressed"] >= 8
    assert (found["cmd.insert.total"], found["cmd.find.total"]) == (1, 1)
    assert "decoding_error" not in found and "op_compressed_unknown" not in found


class replica_set:
    """Three members, each with a listener before it, and a client that knows only one of the listeners."""

    def __init__(self, case: Case, **fields: Any) -> None:
        case.compare_log = False
        names = [f"db{number}.test:27017" for number in (1, 2, 3)]
        documents: list[Any] = []
        self.members = [
            case.have(Member(name, names, documents, primary=not number)) for number, name in enumerate(names)
        ]
        self.ports = [free_port() for _ in names]
        hosts = {name: f"127.0.0.1:{port}" for name, port in zip(names, self.ports, strict=True)}
        filter_ = own(hosts=hosts, **fields)
        listeners = [
            listener(chain(filter_, tcp_proxy(f"c{number}")), name=f"front{number}", port=port)
            for number, port in enumerate(self.ports)
        ]
        clusters = [cluster(member, name=f"c{number}") for number, member in enumerate(self.members)]
        self.proxy = case.start(bootstrap(*listeners, clusters=clusters))

    def __enter__(self) -> tuple[Proxy, Any, list[Member]]:
        """Connect the client."""
        self.mongo: Any = pymongo.MongoClient(
            "127.0.0.1",
            self.ports[2],
            replicaSet="rs",
            serverSelectionTimeoutMS=5000,
            heartbeatFrequencyMS=500,
        )
        return self.proxy, self.mongo, self.members

    def __exit__(self, *error: object) -> None:
        self.mongo.close()


def test_replica_set(case: Case) -> None:
    """A driver that discovers the set finds all members behind the proxy, and no other way."""
    with replica_set(case) as (proxy, mongo, members):
        mongo.db.users.insert_many([{"_id": number} for number in range(10)])
        assert len(list(mongo.db.users.find())) == 10
        secondary = mongo.db.get_collection("users", read_preference=pymongo.ReadPreference.SECONDARY)
        assert secondary.find_one()
        wait_until(lambda: len(mongo.nodes) == 3, "the driver to know all members")
        assert {host for host, _ in mongo.nodes} == {"127.0.0.1"}
        assert "insert" in members[0].commands
        assert any("find" in member.commands for member in members[1:])
        assert numbers(proxy)["hello_rewritten"] >= 3


def test_exhaust(case: Case) -> None:
    """A cursor whose batches the server streams is one operation, until the last of them."""
    with replica_set(case) as (proxy, mongo, members):
        mongo.db.users.insert_many([{"_id": number} for number in range(100)])
        cursor = mongo.db.users.find(cursor_type=pymongo.CursorType.EXHAUST, batch_size=10)
        assert len(list(cursor)) == 100
        assert members[0].commands.count("getMore") == 1
        found = numbers(proxy)
        assert found["cmd.getMore.total"] == 1
        assert found["op_query_exhaust"] == 1


def test_unacknowledged(case: Case) -> None:
    """Writes that want no answer pass, and are not waited for."""
    with replica_set(case) as (proxy, mongo, members):
        silent = mongo.db.get_collection("users", write_concern=pymongo.WriteConcern(w=0))
        silent.insert_one({"_id": 1})
        wait_until(lambda: members[0].documents, "the document")
        wait_until(lambda: numbers(proxy).get("op_msg_unanswered") == 1, "it to be counted")


def test_refused(case: Case) -> None:
    """Refused commands get a proper error, and the same connection goes on."""
    refuse = [
        {"commands": ["drop", "dropDatabase"]},
        {"operators": ["$where"], "code": 5, "message": "no code"},
    ]
    with served(case, own(refuse=refuse), maxPoolSize=1) as (proxy, mongo):
        mongo.db.users.insert_one({"_id": 1})
        with pytest.raises(OperationFailure, match="refused by the proxy") as caught:
            mongo.db.users.drop()
        assert caught.value.code == 13
        with pytest.raises(OperationFailure, match="no code") as caught:
            mongo.db.users.find_one({"$where": "true"})
        assert caught.value.code == 5
        assert mongo.db.users.find_one() == {"_id": 1}
        assert numbers(proxy)["refused"] == 2


def test_read_only(case: Case) -> None:
    """In read-only mode reads go on, and writes are refused."""
    with served(case, own(read_only=True)) as (proxy, mongo):
        with pytest.raises(OperationFailure, match="read-only"):
            mongo.db.users.insert_one({"_id": 1})
        assert mongo.db.users.find_one() is None
        assert mongo.db.users.count_documents({}) == 0
        assert numbers(proxy)["read_only_refused"] == 1


def test_faults(case: Case) -> None:
    """An injected error is one for the driver, which takes it for what its code says."""
    error = {"code": 91, "code_name": "ShutdownInProgress", "message": "injected"}
    with served(case, own(faults=[{"commands": ["insert"], "error": error, "delay": "0.05s"}])) as (
        proxy,
        mongo,
    ):
        with pytest.raises(AutoReconnect):
            mongo.db.users.insert_one({"_id": 1})
        assert mongo.db.users.find_one() is None
        assert numbers(proxy)["errors_injected"] == 1


def test_rate_limit(case: Case) -> None:
    """What is over the limit is retried by the driver, once a token has come."""
    bucket = {"max_tokens": 1, "fill_interval": "3600s"}
    limit = {"commands": ["find"], "collections": ["users"], "token_bucket": bucket}
    with served(case, own(rate_limits=[limit]), retryReads=True) as (proxy, mongo):
        mongo.db.users.find_one()
        with pytest.raises(OperationFailure) as caught:
            mongo.db.users.find_one()
        assert caught.value.code == 262
        assert mongo.db.others.find_one() is None
        assert numbers(proxy)["rate_limited"] >= 1


def test_slow_log(case: Case) -> None:
    """A log of the slow operations only."""
    path = case.directory / "slow.log"
    with served(case, own(logs=[{"path": str(path), "slower_than": "0.0001s"}])) as (proxy, mongo):
        mongo.db.users.insert_one({"_id": 1, "secret": "hidden"})
        mongo.db.users.find_one({"secret": "hidden"})
        wait_until(lambda: "find" in path.read_text(), "the log")
        lines = [json.loads(line)["message"] for line in proxy.lines(path)]
    assert "hidden" not in path.read_text()
    found = [line for line in lines if line["command"] == "find"]
    assert found[0]["filter"] == {"secret": "?"}
    assert found[0]["latency_ms"] > 0


def test_drain(case: Case) -> None:
    """At the proxy's end connections are closed between messages, and it does not wait for idle ones."""
    with served(case, own()) as (proxy, mongo):
        mongo.db.users.insert_one({"_id": 1})
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0


@pytest.mark.skipif(
    mongod() is None, reason="there is no real mongod: see MESHD_MONGOD in tests/integration/mongo.py"
)
def test_real(case: Case) -> None:
    """The same with a real mongod, where there is one."""
    case.compare_log = False
    server = case.have(Server(case.directory / "mongo", real=True))
    proxy = case.start(behind(own(), server))
    mongo = client(proxy, compressors="zlib")
    try:
        mongo.db.users.insert_many([{"_id": number} for number in range(300)])
        assert len(list(mongo.db.users.find({}, batch_size=100))) == 300
        mongo.db.command("explain", {"find": "users", "filter": {"x": 1}})
    finally:
        mongo.close()
    found = numbers(proxy)
    assert found["op_query_collection_scan"] == 1
    assert found["op_compressed"] > 0


def test_tls(case: Case) -> None:
    """TLS from the driver, and TLS to the server (a second listener, which ends it before nx-27017)."""
    case.compare_log = False
    authority = Authority()
    leaf = authority.issue("mongo.test", ip=["127.0.0.1"])
    server = case.have(Server(case.directory / "mongo"))
    inner = free_port()
    front = {**chain(own(), tcp_proxy("inner")), "transport_socket": server_tls(leaf)}
    back = {**chain(tcp_proxy("c")), "transport_socket": server_tls(leaf)}
    clusters = [
        cluster(server),
        cluster(Nowhere(inner), name="inner", transport_socket=client_tls(common=trusting(authority))),
    ]
    proxy = case.start(bootstrap(listener(front), listener(back, name="back", port=inner), clusters=clusters))
    authorities = case.directory / "authority.pem"
    authorities.write_bytes(authority.alone)
    mongo = client(proxy, tls=True, tlsCAFile=str(authorities))
    try:
        mongo.db.users.insert_many([{"_id": number, "text": "x" * 1000} for number in range(500)])
        assert len(list(mongo.db.users.find({}, batch_size=100))) == 500
        for number in range(20):
            assert mongo.db.users.find_one({"_id": number})
    finally:
        mongo.close()
    found = numbers(proxy)
    assert (found["cmd.insert.total"], found["cmd.find.total"]) == (1, 21)
    assert "decoding_error" not in found


class Nowhere:
    """A port that somebody else has."""

    def __init__(self, port: int) -> None:
        self.port = port
