"""Tests for meshd.filters.network.redis_proxy.hot_keys."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from meshd.filters.network.redis_proxy.hot_keys import HotKeys


class HotKeysTests(SynchronousTestCase):
    """The keys that are used most."""

    def test_exact(self) -> None:
        """Few keys are counted exactly, the most used first."""
        keys = HotKeys(2)
        for key in b"abacab":
            keys.count(bytes([key]))
        self.assertEqual(keys.top(), [(b"a", 3, 0), (b"b", 2, 0)])

    def test_among_many(self) -> None:
        """A hot key is found among many others; its count is never too low, its error never hidden."""
        keys, random = HotKeys(3), Random(1)
        for number in range(20_000):
            keys.count(b"%d" % random.randrange(100_000))
            if number % 10 == 0:
                keys.count(b"hot")
        (key, count, error), *_ = keys.top()
        self.assertEqual(key, b"hot")
        self.assertTrue(count >= 2000 >= count - error, (count, error))
        self.assertLessEqual(len(keys._counts), 30)

    def test_page(self) -> None:
        """The page has a line for each, whatever is in a key."""
        keys = HotKeys(1)
        self.assertEqual(keys.page(), "no key was used yet\n")
        keys.count(b"\xff\n")
        self.assertEqual(keys.page(), "1 '\\\\xff\\n'\n")
