"""Tests for meshd.filters.network.redis_proxy.routes."""

from typing import Any

from envoy.extensions.filters.network.redis_proxy.v3.redis_proxy_pb2 import RedisProxy
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.filters.network.redis_proxy.routes import Routes, read_routes
from meshd.plugin import ConfigError


def routes(**config: Any) -> Routes:
    """Read a PrefixRoutes message."""
    return read_routes(ParseDict(config, RedisProxy.PrefixRoutes()))


class RoutesTests(SynchronousTestCase):
    """Prefixes, and what keys are called upstream."""

    def cluster(self, found: Routes, key: bytes) -> str:
        """Return the cluster of a key, - if it has none."""
        route = found.find(key)
        return route.cluster if route is not None else "-"

    def test_longest(self) -> None:
        """The longest prefix counts, and the catch-all route where there is none."""
        found = routes(
            routes=[{"prefix": "a", "cluster": "one"}, {"prefix": "ab", "cluster": "two"}],
            catch_all_route={"cluster": "rest"},
        )
        for key, cluster in ((b"ax", "one"), (b"abx", "two"), (b"ab", "two"), (b"b", "rest"), (b"", "rest")):
            self.assertEqual(self.cluster(found, key), cluster)

    def test_none(self) -> None:
        """Without a catch-all route other keys have no cluster."""
        self.assertEqual(self.cluster(routes(routes=[{"prefix": "a", "cluster": "one"}]), b"b"), "-")
        self.assertEqual(self.cluster(routes(), b"b"), "-")

    def test_case(self) -> None:
        """Case matters unless the config says that it does not."""
        one = [{"prefix": "Ab", "cluster": "one"}]
        self.assertEqual(self.cluster(routes(routes=one), b"aBc"), "-")
        self.assertEqual(self.cluster(routes(routes=one, case_insensitive=True), b"aBc"), "one")

    def test_names(self) -> None:
        """A prefix is removed, and a format put around the key, in this order."""
        found = routes(
            routes=[
                {"prefix": "a:", "cluster": "one", "remove_prefix": True},
                {"prefix": "b:", "cluster": "one", "remove_prefix": True, "key_formatter": "{%KEY%}-x"},
                {"prefix": "c:", "cluster": "one"},
            ]
        )
        for key, upstream, changes in (
            (b"a:k", b"k", True),
            (b"b:k", b"{k}-x", True),
            (b"c:k", b"c:k", False),
        ):
            route = found.find(key)
            assert route is not None
            self.assertEqual((route.upstream_key(key), route.changes), (upstream, changes))

    def test_wrong(self) -> None:
        """A prefix that is there twice, and a format that is not served, are errors with their place."""
        one = {"prefix": "a", "cluster": "one"}
        with self.assertRaises(ConfigError) as caught:
            routes(routes=[one, one])
        self.assertEqual(caught.exception.path, ("routes", 1, "prefix"))
        for text in ("x", "%KEY%%KEY%", "%FILTER_STATE(x)%%KEY%"):
            with self.assertRaises(ConfigError) as caught:
                routes(catch_all_route={"cluster": "c", "key_formatter": text})
            self.assertEqual(caught.exception.path, ("catch_all_route", "key_formatter"))


def text(limit: int) -> st.SearchStrategy[str]:
    """Return short texts of few letters, so that they meet."""
    return st.text("abA", max_size=limit)


ROUTE = st.fixed_dictionaries(
    {"prefix": text(2), "cluster": st.sampled_from(["one", "two"]), "remove_prefix": st.booleans()},
    optional={"key_formatter": st.builds("{}%KEY%{}".format, text(1), text(1))},
)


class BackTests(SynchronousTestCase):
    """From what keys are called upstream to what clients call them."""

    def setUp(self) -> None:
        self.routes = routes(
            routes=[
                {"prefix": "a:", "cluster": "one", "remove_prefix": True},
                {"prefix": "b:", "cluster": "one", "remove_prefix": True, "key_formatter": "{%KEY%}-x"},
                {"prefix": "c:", "cluster": "two"},
            ],
            catch_all_route={"cluster": "one"},
        )

    def test_keys(self) -> None:
        """All names are told that lead to the key."""
        for key, names in (
            (b"k", [b"a:k", b"k"]),
            (b"{k}-x", [b"a:{k}-x", b"b:k", b"{k}-x"]),
            (b"c:k", [b"a:c:k"]),
        ):
            self.assertEqual(self.routes.client_keys("one", key), names)
        self.assertTrue(self.routes.renames("one"))
        self.assertFalse(self.routes.renames("two"))

    def test_starts(self) -> None:
        """The starts of keys, too, and none that another includes."""
        for starts, upstream in (
            ((b"",), [b""]),
            ((b"a:u", b"a:v"), [b"a:u", b"a:v", b"u", b"v"]),
            ((b"b:u",), [b"b:u", b"{u"]),
            ((b"a",), [b""]),
            ((b"a:x", b"xy"), [b"a:x", b"x"]),
        ):
            self.assertEqual(self.routes.upstream_starts("one", starts), upstream)
        self.assertEqual(self.routes.upstream_starts("two", [b"x"]), [])
        self.assertEqual(self.routes.upstream_starts("two", [b"C"]), [b"C"])

    def test_lossy(self) -> None:
        """Where a prefix that is removed may be in any case nobody can tell."""
        one = {"prefix": "a:", "cluster": "one", "remove_prefix": True}
        self.assertIsNone(self.routes.lossy)
        self.assertIsNotNone(routes(routes=[one], case_insensitive=True).lossy)

    @given(st.lists(ROUTE, max_size=4, unique_by=lambda each: each["prefix"]), text(4), text(2))
    def test_and_back(self, found: list[Any], key: str, start: str) -> None:
        """A key is among those that its upstream name is told as, and its start among those that are told."""
        made = routes(routes=found)
        name = key.encode()
        route = made.find(name)
        if route is None:
            return
        upstream = route.upstream_key(name)
        self.assertIn(name, made.client_keys(route.cluster, upstream))
        if name.startswith(start.encode()):
            starts = made.upstream_starts(route.cluster, [start.encode()])
            self.assertTrue(upstream.startswith(tuple(starts)))
