"""Tests for meshd.filters.network.redis_proxy.tracked."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.resp_reply import encode
from meshd.testing import FakeClient, FakeConnecting
from tests.filters.network.redis_proxy.talk import CountingHost, Talk


def invalidate(*keys: bytes) -> bytes:
    """Return what a server says when keys have changed; none: all."""
    return b">2\r\n$10\r\ninvalidate\r\n" + (encode(list(keys)) if keys else b"_\r\n")


class TrackedTests(SynchronousTestCase):
    """A client of RESP3 that tracks, in front of two hosts."""

    def setUp(self) -> None:
        self.talk = Talk(2, options={"protocol_version": "ANY"})
        self.client = self.talk.client()
        self.talk.say(self.client, "HELLO 3")

    def track(self, options: str = "", get: str = "GET k0") -> FakeConnecting:
        """Track, and read a key of the first host; return the connection to that."""
        command = f"CLIENT TRACKING ON {options}".strip()
        self.talk.say(self.client, command, get)
        self.talk.got(self.client)
        (link,) = self.talk.links(0)
        self.assertEqual(self.talk.heard(link), ["HELLO 3", command, get])
        self.talk.answer(link, b"%0\r\n", b"+OK\r\n")
        return link

    def test_own_connection(self) -> None:
        """The client has connections of its own, and is told what they tell."""
        link = self.track()
        self.talk.answer(link, b"$1\r\nv\r\n", invalidate(b"k0"), invalidate())
        self.assertEqual(self.talk.got(self.client), b"$1\r\nv\r\n" + invalidate(b"k0") + invalidate())

    def test_order(self) -> None:
        """The client gets a value before it is told that it has changed, though it waits for another host."""
        link = self.track(get="GET k0")
        self.talk.answer(link, b"+0\r\n")
        self.talk.say(self.client, "GET k1", "GET k0", "MGET k1 k0", "GET k0")
        other = self.talk.links(1)[0]
        self.talk.got(self.client)
        self.talk.answer(link, b"+old\r\n", b"*1\r\n+old\r\n", invalidate(b"k0"), b"+new\r\n")
        self.assertEqual(self.talk.got(self.client), b"")
        self.talk.answer(other, b"%0\r\n+OK\r\n+1\r\n*1\r\n+1\r\n")
        expected = b"+1\r\n+old\r\n*2\r\n+1\r\n+old\r\n" + invalidate(b"k0") + b"+new\r\n"
        self.assertEqual(self.talk.got(self.client), expected)
        self.assertEqual(self.talk.shared.stats.rq_active.value, 0)

    def test_blocked(self) -> None:
        """A client that waits for something else is told at once."""
        link = self.track()
        self.talk.answer(link, b"+0\r\n")
        self.talk.say(self.client, "BLPOP q0 0")
        self.talk.got(self.client)
        self.talk.answer(link, invalidate(b"k0"))
        self.assertEqual(self.talk.got(self.client), invalidate(b"k0"))

    def test_lost(self) -> None:
        """A client that can no longer be told what changed is cut, so that it believes nothing."""
        for losing in (FakeConnecting.close, FakeConnecting.reset):
            self.setUp()
            losing(self.track())
            self.assertTrue(self.client.dropped)

    def test_refused(self) -> None:
        """A host that cannot be reached has told of nothing: the command has failed, and the client stays."""
        self.talk.accepting = False
        self.talk.say(self.client, "CLIENT TRACKING ON", "GET k0")
        self.talk.got(self.client)
        self.talk.links(0)[0].refuse()
        self.assertEqual(self.talk.got(self.client), b"-upstream failure\r\n")
        self.assertFalse(self.client.dropped)

    def test_borrowed_lost(self) -> None:
        """So it is if the connection is one over which it has waited."""
        self.talk.say(self.client, "CLIENT TRACKING ON", "XREAD BLOCK 0 STREAMS k0 0")
        (own,) = self.talk.links(0)
        self.talk.answer(own, b"%0\r\n", b"+OK\r\n", b"_\r\n")
        self.assertFalse(self.client.dropped)
        own.reset()
        self.assertTrue(self.client.dropped)

    def test_hosts_change(self) -> None:
        """If keys belong to other hosts now, who has read them is cut; nothing else has that effect."""
        for change, cut in (
            (lambda: None, False),
            (lambda: self.talk.cluster.hosts.reverse(), False),
            (lambda: self.talk.cluster.hosts.append(CountingHost(5)), True),
            (lambda: setattr(self.talk.hosts[1], "healthy", False), True),
        ):
            self.setUp()
            self.talk.answer(self.track(), b"+v\r\n")
            change()
            self.talk.settle(1.5)
            self.assertEqual(self.client.dropped, cut)

    def test_off(self) -> None:
        """Without tracking the client shares connections again."""
        link = self.track()
        self.talk.answer(link, b"+v\r\n")
        self.talk.say(self.client, "CLIENT TRACKING OFF", "GET k0")
        self.assertTrue(link.wire.closed)
        self.talk.settle(1.5)
        self.assertFalse(self.client.dropped)
        self.assertEqual(self.talk.heard(self.talk.links(0)[1]), ["HELLO 3", "GET k0"])

    def test_reset(self) -> None:
        """RESET ends tracking, whatever else there is, and does not cut the client."""
        link = self.track()
        self.talk.answer(link, b"+v\r\n")
        self.talk.say(self.client, "WATCH k0")
        watching = self.talk.links(0)[-1]
        self.talk.answer(watching, b"%0\r\n", b"+OK\r\n", b"+OK\r\n")
        self.assertTrue(self.talk.say(self.client, "RESET", "PING").endswith(b"+RESET\r\n+PONG\r\n"))
        self.assertTrue(link.wire.closed)
        self.assertTrue(watching.wire.closed)

    def test_renewed(self) -> None:
        """Other terms are told over the connections that there are, so that what was read counts on."""
        link = self.track()
        self.talk.answer(link, b"+v\r\n")
        self.talk.say(self.client, "CLIENT TRACKING ON NOLOOP", "GET k1")
        self.assertEqual(self.talk.heard(link), ["CLIENT TRACKING ON NOLOOP"])
        other = self.talk.links(1)[0]
        self.assertEqual(self.talk.heard(other), ["HELLO 3", "CLIENT TRACKING ON NOLOOP", "GET k1"])

    def test_bcast(self) -> None:
        """With BCAST all hosts tell from the beginning; the client is answered once they do."""
        self.talk.say(self.client, "CLIENT TRACKING ON BCAST PREFIX a PREFIX b")
        self.talk.got(self.client)
        links = self.talk.links()
        for link in links:
            said = ["HELLO 3", "CLIENT TRACKING ON BCAST PREFIX a PREFIX b", "PING"]
            self.assertEqual(self.talk.heard(link), said)
            self.assertEqual(self.talk.got(self.client), b"")
            self.talk.answer(link, b"%0\r\n", b"+OK\r\n", b"+PONG\r\n")
        self.assertEqual(self.talk.got(self.client), b"+OK\r\n")
        self.assertEqual(len(links), 2)
        self.talk.say(self.client, "CLIENT TRACKING ON BCAST PREFIX c")
        more = "CLIENT TRACKING ON BCAST PREFIX a PREFIX b PREFIX c"
        self.assertEqual(self.talk.heard(self.talk.links()[-1])[1], more)
        self.assertFalse(links[0].wire.closed)
        self.talk.answer(links[0], invalidate(b"a0"))
        self.assertEqual(self.talk.got(self.client), invalidate(b"a0"))
        for link in (self.talk.links(0)[-1], self.talk.links(1)[-1]):
            self.talk.answer(link, b"%0\r\n", b"+OK\r\n", b"+PONG\r\n")
        self.assertEqual(self.talk.got(self.client), b"+OK\r\n")
        self.assertTrue(links[0].wire.closed)
        self.assertFalse(self.client.dropped)


#: What happens: a client reads (a host, or both at once), or a host answers or tells of a change.
EVENTS = st.lists(st.sampled_from(["read 0", "read 1", "both", "answer 0", "answer 1", "tell 0", "tell 1"]))


class OrderTests(SynchronousTestCase):
    """The order of replies and of what is told, whatever happens when."""

    def setUp(self) -> None:
        self.talk = Talk(2, options={"protocol_version": "ANY"})
        self.client = self.talk.client()
        self.talk.say(self.client, "HELLO 3", "CLIENT TRACKING ON", "GET k0", "GET k1")
        self.links = [self.talk.links(number)[0] for number in (0, 1)]
        for link in self.links:
            self.talk.answer(link, b"%0\r\n", b"+OK\r\n", b"_\r\n")
        self.talk.got(self.client)
        self.heard = b""
        #: What each host has said, and what it has not answered.
        self.said: list[list[bytes]] = [[], []]
        self.asked: list[list[str]] = [[], []]

    def happen(self, event: str) -> None:
        """Let something happen."""
        kind, _, number = event.partition(" ")
        if kind in ("read", "both"):
            self.heard += self.talk.say(self.client, f"GET k{number}" if number else "MGET k0 k1")
            for asked in self.asked if kind == "both" else [self.asked[int(number)]]:
                asked.append(kind)
            return
        where = int(number)
        said = self.said[where]
        name = b"%d:%d" % (where, len(said))
        if kind == "tell":
            said.append(name)
            self.links[where].send(invalidate(name))
        elif self.asked[where]:
            said.append(name)
            reply = encode(name)
            self.links[where].send(b"*1\r\n" + reply if self.asked[where].pop(0) == "both" else reply)

    @given(EVENTS)
    def test_any(self, events: list[str]) -> None:
        """What a host tells comes behind all that it has answered before."""
        self.setUp()
        for event in events:
            self.happen(event)
        while any(self.asked):
            for number in (0, 1):
                self.happen(f"answer {number}")
        self.talk.settle()
        heard = self.heard + self.talk.got(self.client)
        for said in self.said:
            places = [heard.index(encode(name)) for name in said]
            pushes = {name for name in said if invalidate(name) in heard}
            for place, name in zip(places, said, strict=True):
                if name in pushes:
                    self.assertEqual([each for each in places[: said.index(name)] if each > place], [])
        self.assertEqual(self.talk.shared.stats.rq_active.value, 0)


class CachingTests(SynchronousTestCase):
    """CLIENT CACHING, of a client of RESP3."""

    def begin(self, options: str = "OPTIN", **config: Any) -> FakeConnecting:
        """Track; return the connection to the first host."""
        self.talk = Talk(2, options={"protocol_version": "ANY"}, **config)
        self.client = self.talk.client()
        self.talk.say(self.client, "HELLO 3", f"CLIENT TRACKING ON {options}", "GET k0")
        (link,) = self.talk.links(0)
        self.talk.answer(link, b"%0\r\n", b"+OK\r\n", b"_\r\n")
        self.talk.got(self.client)
        self.talk.heard(link)
        return link

    def heard(self, link: FakeConnecting, *commands: str) -> list[str]:
        """Say commands; return what comes over a connection."""
        self.talk.say(self.client, *commands)
        return self.talk.heard(link)

    def test_next(self) -> None:
        """The next command is marked where it goes to, and none after it; the client sees nothing of it."""
        link = self.begin()
        said = self.heard(link, "CLIENT CACHING YES", "GET k1", "GET k0", "CLIENT CACHING YES", "GET k0")
        self.assertEqual(said, ["GET k0", "CLIENT CACHING YES", "GET k0"])
        other = self.talk.links(1)[0]
        marked = ["HELLO 3", "CLIENT TRACKING ON OPTIN", "CLIENT CACHING YES", "GET k1"]
        self.assertEqual(self.talk.heard(other), marked)
        self.talk.answer(other, b"%0\r\n", b"+OK\r\n", b"+OK\r\n", b"+1\r\n")
        self.talk.answer(link, b"+2\r\n", b"+OK\r\n", b"+3\r\n")
        self.assertEqual(self.talk.got(self.client), b"+1\r\n+2\r\n+OK\r\n+3\r\n")

    def test_parts(self) -> None:
        """What is cut up is marked at each host."""
        link = self.begin()
        self.assertEqual(
            self.heard(link, "CLIENT CACHING YES", "MGET k0 k1"), ["CLIENT CACHING YES", "MGET k0"]
        )
        self.assertEqual(self.talk.heard(self.talk.links(1)[0])[2:], ["CLIENT CACHING YES", "MGET k1"])

    def test_transaction(self) -> None:
        """A transaction is marked as a whole."""
        link = self.begin()
        said = self.heard(link, "CLIENT CACHING YES", "MULTI", "GET k0", "EXEC", "GET k0")
        self.assertEqual(said, ["CLIENT CACHING YES", "MULTI", "GET k0", "EXEC", "GET k0"])

    def test_local(self) -> None:
        """With OPTIN the mark outlives what the proxy answers itself: rather is too much tracked."""
        for options, word, marked in (("OPTIN", "YES", True), ("OPTOUT", "NO", False)):
            link = self.begin(options)
            said = self.heard(link, f"CLIENT CACHING {word}", "PING", "GET k0")
            self.assertEqual(said, [*([f"CLIENT CACHING {word}"] if marked else []), "GET k0"])

    def test_ask(self) -> None:
        """ASKING leaves no place for it: the client is told that all has changed, once it has the reply."""
        link = self.begin(settings={"enable_redirection": True})
        self.talk.say(self.client, "CLIENT CACHING YES", "GET k0")
        self.talk.answer(link, b"+OK\r\n", b"-ASK 1 198.51.100.2:6379\r\n")
        other = self.talk.links(1)[0]
        said = ["HELLO 3", "CLIENT TRACKING ON OPTIN", "ASKING", "GET k0", "PING"]
        self.assertEqual(self.talk.heard(other), said)
        self.talk.got(self.client)
        self.talk.answer(other, b"%0\r\n", b"+OK\r\n", b"+OK\r\n", b"+v\r\n", b"+PONG\r\n")
        self.assertEqual(self.talk.got(self.client), b"+v\r\n" + invalidate())

    def test_moved(self) -> None:
        """It is marked where MOVED sends it, too."""
        link = self.begin(settings={"enable_redirection": True})
        self.talk.say(self.client, "CLIENT CACHING YES", "GET k0")
        self.talk.answer(link, b"+OK\r\n", b"-MOVED 1 198.51.100.2:6379\r\n")
        self.assertEqual(self.talk.heard(self.talk.links(1)[0])[2:], ["CLIENT CACHING YES", "GET k0"])


class RedirectTests(SynchronousTestCase):
    """CLIENT TRACKING with REDIRECT, of a client of RESP2."""

    MESSAGE = b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n"

    def setUp(self) -> None:
        self.talk = Talk(options={"protocol_version": "ANY"})
        self.client, self.other = self.talk.client(), self.talk.client()

    def begin(self, protocol: str = "2", target: FakeClient | None = None) -> FakeConnecting:
        """Redirect to the other client, and read a key; return the connection that is redirected to."""
        target = target or self.other
        self.talk.say(target, f"HELLO {protocol}")
        number = int(self.talk.say(target, "CLIENT ID")[1:])
        said = self.talk.say(self.client, f"CLIENT TRACKING ON REDIRECT {number}", "GET k")
        self.assertEqual(said, b"+OK\r\n")
        receiver, link = self.talk.links()[-2:]
        self.assertEqual(self.talk.heard(receiver), ["HELLO 3", "CLIENT ID"])
        self.assertEqual(self.talk.heard(link), [])
        self.talk.answer(receiver, b"%0\r\n", b":77\r\n")
        self.assertEqual(self.talk.heard(link), ["CLIENT TRACKING ON REDIRECT 77", "GET k"])
        self.talk.answer(link, b"+OK\r\n", b"$1\r\nv\r\n")
        self.assertEqual(self.talk.got(self.client), b"$1\r\nv\r\n")
        self.link = link
        return receiver

    def test_subscriber(self) -> None:
        """A client of RESP2 gets messages, if it has subscribed to something; one that has not, nothing."""
        receiver = self.begin()
        self.talk.answer(receiver, invalidate(b"k"))
        self.assertEqual(self.talk.got(self.other), b"")
        self.talk.say(self.other, "SUBSCRIBE __redis__:invalidate")
        self.talk.answer(
            self.talk.links()[-1], b"*3\r\n$9\r\nsubscribe\r\n$20\r\n__redis__:invalidate\r\n:1\r\n"
        )
        self.talk.got(self.other)
        self.talk.answer(receiver, invalidate(b"k", b"j"), invalidate())
        both = self.MESSAGE + b"*2\r\n$1\r\nk\r\n$1\r\nj\r\n"
        self.assertEqual(self.talk.got(self.other), both + self.MESSAGE + b"$-1\r\n")

    def test_pushes(self) -> None:
        """A client of RESP3 gets pushes."""
        receiver = self.begin("3")
        self.talk.answer(receiver, invalidate(b"k"))
        self.assertEqual(self.talk.got(self.other), invalidate(b"k"))
        self.assertEqual(self.talk.got(self.client), b"")

    def test_gone(self) -> None:
        """If that client is gone nobody is told; a client of RESP3 learns that much."""
        receiver = self.begin()
        self.other.close()
        self.talk.answer(receiver, invalidate(b"k"))
        self.assertEqual(self.talk.got(self.client), b"")
        self.assertIn(b"broken_redirect", self.talk.say(self.client, "CLIENT TRACKINGINFO"))
        self.setUp()
        self.talk.say(self.client, "HELLO 2")
        number = int(self.talk.say(self.other, "CLIENT ID")[1:])
        self.talk.say(self.client, "HELLO 3", f"CLIENT TRACKING ON REDIRECT {number}", "GET k")
        receiver, _ = self.talk.links()
        self.talk.answer(receiver, b"%0\r\n", b":7\r\n")
        self.other.close()
        self.talk.got(self.client)
        self.talk.answer(receiver, invalidate(b"k"))
        broken = b">2\r\n$21\r\ntracking-redir-broken\r\n:%d\r\n" % number
        self.assertEqual(self.talk.got(self.client), broken)

    def test_lost(self) -> None:
        """If a connection is lost, both are cut: that which reads, and that which is told."""
        for which in (0, 1):
            self.setUp()
            receiver = self.begin()
            (receiver, self.link)[which].reset()
            self.assertTrue(self.client.dropped)
            self.assertTrue(self.other.dropped)

    def test_no_receiver(self) -> None:
        """If the host has no connection for it, the command has failed, and the next one tries again."""
        number = int(self.talk.say(self.other, "CLIENT ID")[1:])
        self.talk.say(self.client, f"CLIENT TRACKING ON REDIRECT {number}")
        for losing in (lambda link: self.talk.answer(link, b"-NOPROTO\r\n"), lambda link: link.reset()):
            self.talk.say(self.client, "GET k")
            receiver, link = self.talk.links()[-2:]
            losing(receiver)
            self.assertTrue(self.talk.got(self.client).endswith(b"-upstream failure\r\n"))
            self.assertTrue(link.wire.closed)
        self.talk.accepting = False
        self.talk.say(self.client, "GET k")
        receiver, link = self.talk.links()[-2:]
        receiver.refuse()
        link.accept()
        self.assertEqual(self.talk.got(self.client), b"-upstream failure\r\n")
        self.assertFalse(self.client.dropped)
        self.assertFalse(self.other.dropped)

    def test_off(self) -> None:
        """All connections end with tracking, and with the client."""
        for end in (lambda: self.talk.say(self.client, "CLIENT TRACKING OFF"), lambda: self.client.close()):
            self.setUp()
            receiver = self.begin()
            end()
            self.assertTrue(receiver.wire.closed)
            self.assertTrue(self.link.wire.closed)
            self.assertFalse(self.other.dropped)


class RenamedTests(SynchronousTestCase):
    """Keys that are called otherwise upstream."""

    def setUp(self) -> None:
        routes = {
            "routes": [
                {"prefix": "a:", "cluster": "c", "remove_prefix": True},
                {"prefix": "b:", "cluster": "c", "remove_prefix": True, "key_formatter": "x{%KEY%}"},
                {"prefix": "o:", "cluster": "other"},
            ],
            "catch_all_route": {"cluster": "c"},
        }
        self.talk = Talk(prefix_routes=routes, options={"protocol_version": "ANY"})
        self.client = self.talk.client()

    def test_names(self) -> None:
        """The client is told of each name that it has for a key that has changed."""
        self.talk.say(self.client, "HELLO 3", "CLIENT TRACKING ON", "GET a:k")
        (link,) = self.talk.links()
        self.talk.answer(link, b"%0\r\n", b"+OK\r\n", b"_\r\n")
        self.talk.got(self.client)
        for said, told in (
            ((b"k",), (b"a:k", b"k")),
            ((b"x{k}",), (b"a:x{k}", b"b:k", b"x{k}")),
            ((b"a:k",), (b"a:a:k",)),
            ((), ()),
        ):
            self.talk.answer(link, invalidate(*said))
            self.assertEqual(self.talk.got(self.client), invalidate(*told), said)

    def test_bcast(self) -> None:
        """Prefixes are those of the client, and so is what it is told."""
        self.talk.say(self.client, "HELLO 3", "CLIENT TRACKING ON BCAST PREFIX a:u PREFIX b:")
        (link,) = self.talk.links()
        said = "CLIENT TRACKING ON BCAST PREFIX a:u PREFIX b: PREFIX u PREFIX x{"
        self.assertEqual(self.talk.heard(link), ["HELLO 3", said, "PING"])
        self.talk.answer(link, b"%0\r\n", b"+OK\r\n", b"+PONG\r\n")
        self.talk.got(self.client)
        self.talk.answer(link, invalidate(b"user", b"x{k}"), invalidate(b"b:k"))
        self.assertEqual(self.talk.got(self.client), invalidate(b"a:user", b"b:k"))
