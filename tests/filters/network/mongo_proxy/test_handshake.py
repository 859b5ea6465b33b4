"""Tests for meshd.filters.network.mongo_proxy.handshake."""

import bson
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.bson import BsonError, fields
from meshd.filters.network.mongo_proxy.handshake import Client, read_client, rewrite
from meshd.testing import check_rubbish
from tests.filters.network.mongo_proxy.conversation import HELLO

MAP = {"db1:27017": "proxy:1", "db2:27017": "proxy:2"}
MEMBER = {
    "setName": "rs",
    "hosts": ["db1:27017", "DB2:27017", "db3:27017"],
    "passives": ["db2:27017"],
    "arbiters": [],
    "primary": "db1:27017",
    "me": "db2:27017",
    "lastWrite": {"opTime": 1},
    "ok": 1.0,
}


class ClientTests(SynchronousTestCase):
    """What clients tell of themselves."""

    def test_all(self) -> None:
        """Application, driver and version."""
        wire = bson.encode(HELLO)
        self.assertEqual(read_client(wire, fields(wire)), Client("shop", "PyMongo", "4.6.0"))

    def test_little(self) -> None:
        """Who tells little, or nothing."""
        wire = bson.encode({"hello": 1, "client": {"driver": 5}})
        self.assertEqual(read_client(wire, fields(wire)), Client("", "", ""))
        wire = bson.encode({"hello": 1})
        self.assertIsNone(read_client(wire, fields(wire)))


class RewriteTests(SynchronousTestCase):
    """Answers to hello."""

    def test_members(self) -> None:
        """All addresses that are known are others, in all places; the rest is as it was, in its order."""
        changed = rewrite(bson.encode(MEMBER), 0, MAP)
        assert changed is not None
        found = bson.decode(changed)
        self.assertEqual(list(found), list(MEMBER))
        self.assertEqual(found["hosts"], ["proxy:1", "proxy:2", "db3:27017"])
        self.assertEqual(
            (found["passives"], found["primary"], found["me"]), (["proxy:2"], "proxy:1", "proxy:2")
        )
        self.assertEqual(found["lastWrite"], {"opTime": 1})

    def test_nothing_to_change(self) -> None:
        """An answer that names nobody stays."""
        self.assertIsNone(rewrite(bson.encode({"ismaster": True, "ok": 1}), 0, MAP))

    @given(st.binary(max_size=60))
    def test_rubbish(self, data: bytes) -> None:
        """Rubbish is an error."""
        check_rubbish(lambda each: rewrite(each, 0, MAP), data, BsonError)
