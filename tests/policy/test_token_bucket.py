"""Tests for meshd.policy.token_bucket."""

from functools import partial

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.policy.token_bucket import Shared, SourceBuckets, TokenBucket


class TokenBucketTests(SynchronousTestCase):
    """A bucket of three, to which two come in half a second."""

    def setUp(self) -> None:
        self.bucket = TokenBucket(3, 2, 0.5, now=100)

    def test_burst(self) -> None:
        """It is full at first."""
        self.assertEqual([self.bucket.take(100) for _ in range(4)], [True, True, True, False])

    def test_refill(self) -> None:
        """Tokens come one by one, as in Envoy, not all at the end of the interval."""
        self.test_burst()
        self.assertEqual([self.bucket.take(100 + t) for t in (0.1, 0.24, 0.25, 0.26, 0.5)], [0, 0, 1, 0, 1])

    def test_full(self) -> None:
        """It holds no more than its size, however long nobody comes."""
        self.assertEqual([self.bucket.take(9999) for _ in range(4)], [True, True, True, False])

    @given(st.lists(st.floats(0, 1), max_size=50))
    def test_bound(self, steps: list[float]) -> None:
        """In any time it gives no more than its size and what came in that time."""
        now, given_out = 0.0, 0
        bucket = TokenBucket(3, 2, 0.5, now=now)
        for step in steps:
            now += step
            given_out += bucket.take(now)
        self.assertLessEqual(given_out, 3 + now * 4 + 1e-6)


class SourceBucketsTests(SynchronousTestCase):
    """Buckets of one token, of two sources at most."""

    def make(self, v4_bits: int = 32, v6_bits: int = 64) -> SourceBuckets:
        """Make the buckets."""
        return SourceBuckets(partial(TokenBucket, 1, 1, 1), 2, v4_bits, v6_bits)

    def test_each(self) -> None:
        """Each address has its own; the port does not matter."""
        buckets = self.make()
        taken = [buckets.take(source, 0) for source in (("10.0.0.1", 1), ("10.0.0.1", 2), ("10.0.0.2", 1))]
        self.assertEqual(taken, [True, False, True])

    def test_bounded(self) -> None:
        """The source that was not seen longest is forgotten."""
        buckets = self.make()
        for host in ("10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.3"):
            buckets.take((host, 1), 0)
        self.assertEqual(len(buckets), 2)
        self.assertFalse(buckets.take(("10.0.0.1", 1), 0))
        self.assertTrue(buckets.take(("10.0.0.2", 1), 0))

    def test_blocks(self) -> None:
        """Addresses of one network share a bucket."""
        buckets = self.make(v4_bits=24)
        taken = [
            buckets.take((host, 1), 0) for host in ("10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2")
        ]
        self.assertEqual(taken, [True, False, True, False])

    def test_everybody(self) -> None:
        """With a prefix of no bits there is one bucket for all."""
        buckets = self.make(v4_bits=0, v6_bits=0)
        self.assertEqual([buckets.take((host, 1), 0) for host in ("10.0.0.1", "192.0.2.1")], [True, False])

    def test_kinds(self) -> None:
        """A mapped address is the IPv4 address; the clients of unix sockets are one source."""
        buckets = self.make()
        taken = [buckets.take(source, 0) for source in (("10.0.0.1", 1), ("::ffff:10.0.0.1", 1), "", "")]
        self.assertEqual(taken, [True, False, True, False])


class SharedTests(SynchronousTestCase):
    """Buckets of two servers."""

    def test_shared(self) -> None:
        """One server's filters get the same bucket for a key, another's get another."""

        class Server:
            pass

        shared: Shared[TokenBucket] = Shared()
        make = partial(TokenBucket, 1, 1, 1, 0)
        first, second = Server(), Server()
        bucket = shared.get(first, "k", make)
        self.assertIs(shared.get(first, "k", make), bucket)
        self.assertIsNot(shared.get(first, "l", make), bucket)
        self.assertIsNot(shared.get(second, "k", make), bucket)
