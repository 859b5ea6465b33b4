"""Tests for meshd.filters.network.redis_proxy.key_specs."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.filters.network.redis_proxy.key_specs import BadKeys, only_key, read_spec


def keys(spec: str, *args: str) -> list[int]:
    """Return where spec finds keys."""
    return read_spec(spec)[0]([arg.encode() for arg in args])


class PartTests(SynchronousTestCase):
    """One part of a specification."""

    def test_one(self) -> None:
        """A number is the place of one key."""
        self.assertEqual(keys("2", "object", "encoding", "k"), [2])

    def test_one_missing(self) -> None:
        """A key that is not there is an error."""
        self.assertRaises(BadKeys, keys, "2", "object", "encoding")

    def test_range(self) -> None:
        """A range ends at an argument, or as many from the end."""
        self.assertEqual(keys("1..2", "lcs", "a", "b", "LEN"), [1, 2])
        self.assertEqual(keys("1..-1", "mget", "a", "b"), [1, 2])
        self.assertEqual(keys("1..-2", "blpop", "a", "b", "0"), [1, 2])

    def test_step(self) -> None:
        """A step passes over what is between the keys."""
        self.assertEqual(keys("1..-1/2", "mset", "a", "1", "b", "2"), [1, 3])

    def test_empty_range(self) -> None:
        """A range to the end may be empty; one that ends before the last may not."""
        self.assertEqual(keys("1 2..-1", "pfmerge", "a"), [1])
        self.assertRaises(BadKeys, keys, "1..-2", "blpop", "0")

    def test_number(self) -> None:
        """An argument says how many keys follow."""
        self.assertEqual(keys("2#", "eval", "s", "2", "a", "b", "c"), [3, 4])
        self.assertEqual(keys("1#/2", "msetex", "2", "a", "1", "b", "2", "NX"), [2, 4])

    def test_wrong_number(self) -> None:
        """A number of keys that cannot be is an error, or no keys."""
        for count in ("0", "-1", "4", "x", "+1", "01", " 1", ""):
            self.assertRaises(BadKeys, keys, "1#", "zunion", count, "a", "b", "c")
            self.assertEqual(keys("1#?", "zunion", count, "a", "b", "c"), [])

    def test_word(self) -> None:
        """Half of what follows a word are keys, in whatever case it is written."""
        self.assertEqual(keys("@STREAMS:1..%2", "xread", "COUNT", "2", "streams", "a", "b", "1", "2"), [4, 5])

    def test_word_as_name(self) -> None:
        """The word is not sought where it would be a name."""
        args = ("xreadgroup", "GROUP", "streams", "me", "STREAMS", "a", ">")
        self.assertEqual(keys("@STREAMS:4..%2", *args), [5])

    def test_word_missing(self) -> None:
        """Without the word, or with nothing after it, there are no keys to be told."""
        self.assertRaises(BadKeys, keys, "@STREAMS:1..%2", "xread", "COUNT", "2", "a")
        self.assertRaises(BadKeys, keys, "@STREAMS:1..%2", "xread", "STREAMS")

    def test_channels(self) -> None:
        """Shard channels are told apart from keys."""
        find_keys, find_channels = read_spec("!1")
        self.assertEqual(find_keys([b"spublish", b"c", b"m"]), [])
        self.assertEqual(find_channels([b"spublish", b"c", b"m"]), [1])

    def test_nonsense(self) -> None:
        """What is no specification is refused."""
        for spec in ("x", "1..", "@A", "1 ?", "..2", "1..%2"):
            self.assertRaises(ValueError, read_spec, spec)

    def test_only_key(self) -> None:
        """A specification with one key in one place is told."""
        self.assertEqual([only_key(spec) for spec in ("1", "2", "1 2", "1..2", "", "!1")], [1, 2, 0, 0, 0, 0])


class OwnTests(SynchronousTestCase):
    """The commands with a search of their own."""

    def test_sort(self) -> None:
        """SORT has its key, and that of the last STORE, of which the values of options are none."""
        self.assertEqual(keys("sort", "sort", "k", "GET", "STORE", "by", "store", "LIMIT", "0", "store"), [1])
        self.assertEqual(keys("sort", "sort", "k", "STORE", "a", "store", "b"), [1, 5])
        self.assertEqual(keys("sort", "sort", "k", "STORE"), [1])

    def test_georadius(self) -> None:
        """GEORADIUS has its key, and those of STORE and STOREDIST."""
        args = ("georadius", "k", "1", "1", "1", "m")
        self.assertEqual(keys("georadius", *args), [1])
        self.assertEqual(keys("georadius", *args, "STOREDIST", "a"), [1, 7])
        self.assertEqual(keys("georadius", *args, "STOREDIST", "store", "STORE", "b", "store"), [1, 9, 7])
        self.assertEqual(keys("georadius", *args, "STORE", "a", "STORE", "b"), [1, 9])
        self.assertEqual(keys("georadiusbymember", *args[:-1], "STORE", "a"), [1, 6])

    def test_migrate(self) -> None:
        """MIGRATE has one key, or, that being empty, those after KEYS."""
        self.assertEqual(keys("migrate", "migrate", "h", "1", "k", "0", "9"), [3])
        args = ("migrate", "h", "1", "", "0", "9", "AUTH", "keys", "KEYS", "a", "b")
        self.assertEqual(keys("migrate", *args), [9, 10])

    def test_migrate_both(self) -> None:
        """MIGRATE with a key and KEYS is an error."""
        self.assertRaises(BadKeys, keys, "migrate", "migrate", "h", "1", "k", "0", "9", "KEYS", "a")
        self.assertEqual(keys("migrate", "migrate", "h", "1", "k", "0", "9", "KEYS"), [3])
