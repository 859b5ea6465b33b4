"""Tests for meshd.filters.network.redis_proxy.commands, among them a comparison with a real server."""

import random
from collections.abc import Iterator
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from meshd.filters.network.redis_proxy.commands import BadKeys, Command, find, resolve
from tests.redis_servers import ErrorReply, RedisServer

from .known import TABLE, leaves

KINDS = {
    "single", "split", "multi", "all", "local", "blocking", "pubsub", "transaction", "session", "keyless",
    "refused",
}  # fmt: skip


def found(text: str) -> Command:
    """Return the command that is called so."""
    command = resolve(text.encode().split())
    assert command is not None
    return command


def keys(text: str) -> list[int]:
    """Return where the keys of a command line are."""
    command = find(text.encode().split(b" ")[0])
    assert command is not None
    return command.keys(text.encode().split(b" "))


class FindTests(SynchronousTestCase):
    """Finding a command."""

    def test_case(self) -> None:
        """It is found in whatever case it is written."""
        self.assertIs(find(b"get"), find(b"GET"))
        self.assertIs(find(b"GeT"), find(b"GET"))

    def test_unknown(self) -> None:
        """What nobody knows is not found."""
        self.assertIsNone(find(b"FOO"))
        self.assertIsNone(find(b""))

    def test_subcommand(self) -> None:
        """A subcommand is found, in whatever case; for an unknown one its container is."""
        self.assertEqual(found("CONFIG GET x").name, "config|get")
        self.assertEqual(found("config foo").name, "config")
        self.assertEqual(found("config").name, "config")
        self.assertIsNone(resolve([b"foo", b"get"]))

    def test_facts(self) -> None:
        """Arity, flags and categories are those of the server, without the @."""
        command = found("BITOP")
        self.assertEqual(command.arity, -4)
        self.assertEqual(command.flags, {"write", "denyoom"})
        self.assertEqual(command.acl, {"write", "bitmap", "slow"})

    def test_accepts(self) -> None:
        """A number of arguments is right, or enough."""
        self.assertEqual([found("GET").accepts(count) for count in (1, 2, 3)], [False, True, False])
        self.assertEqual([found("DEL").accepts(count) for count in (1, 2, 3)], [False, True, True])

    def test_newer(self) -> None:
        """Commands that came after Redis 7.0 are known, by Redis and by Valkey."""
        names = ("WAITAOF 1 1 1", "HGETEX", "XACKDEL", "DELEX", "ARSET", "DELIFEQ", "CLIENT SETINFO", "VADD")
        self.assertNotIn(None, [resolve(name.encode().split()) for name in names])
        self.assertEqual(keys("MSETEX 2 a 1 b 2 EX 9"), [2, 4])


class KindTests(SynchronousTestCase):
    """What a proxy does with a command."""

    def test_known(self) -> None:
        """Every command has one of the kinds."""
        self.assertEqual({command.kind for command in leaves()} - KINDS, set())

    def test_kinds(self) -> None:
        """Commands are of the kind that fits."""
        self.assertEqual(
            [
                found(name).kind
                for name in ("GET", "MGET", "RENAME", "EVAL", "SCAN", "PING", "BLPOP", "SUBSCRIBE")
            ],
            ["single", "split", "multi", "multi", "all", "local", "blocking", "pubsub"],
        )
        self.assertEqual(
            [
                found(name).kind
                for name in ("WATCH", "SELECT", "LOLWUT", "SHUTDOWN", "CLUSTER SLOTS", "DEBUG")
            ],
            ["transaction", "session", "keyless", "refused", "refused", "refused"],
        )

    def test_keyed(self) -> None:
        """Commands with keys, and only they, are of a kind that goes by keys."""
        keyed = {"single", "split", "multi", "blocking"}
        for command in leaves():
            has_keys = TABLE[command.name] != "-" and "!" not in TABLE[command.name]
            if command.name not in ("watch", "restore-asking") and not command.name.startswith("ft.dict"):
                self.assertEqual(command.kind in keyed, has_keys, command.name)

    def test_first(self) -> None:
        """Where a single command's key is can be read off."""
        self.assertEqual([found(name).first for name in ("GET", "OBJECT FREQ", "MGET", "SORT")], [1, 2, 0, 0])
        for command in leaves():
            self.assertEqual(command.kind == "single", bool(command.first) and command.kind == "single")

    def test_blocks(self) -> None:
        """Only XREAD and XREADGROUP block if they are told to, others always or never."""
        cases = {
            "BLPOP a 0": True,
            "GET a": False,
            "XREAD STREAMS block 0": False,
            "XREAD block 0 STREAMS a 0": True,
            "XREADGROUP GROUP g c STREAMS a >": False,
        }
        for text, blocks in cases.items():
            self.assertEqual(found(text).blocks(text.encode().split()), blocks, text)


class KeyTests(SynchronousTestCase):
    """Where the keys are, seen with no server."""

    def test_containers(self) -> None:
        """A container's keys are those of the subcommand."""
        self.assertEqual(keys("OBJECT ENCODING k"), [2])
        self.assertEqual(keys("OBJECT HELP"), [])
        self.assertRaises(BadKeys, keys, "OBJECT FOO k")

    def test_arity(self) -> None:
        """A wrong number of arguments is an error."""
        self.assertRaises(BadKeys, keys, "GET")
        self.assertRaises(BadKeys, keys, "GET a b")
        self.assertRaises(BadKeys, keys, "OBJECT ENCODING")

    def test_scripts_without_keys(self) -> None:
        """A script may have no keys, and one whose number of keys is wrong has none either."""
        self.assertEqual(keys("EVAL s 0 a"), [])
        self.assertEqual(keys("FCALL f 7 a"), [])

    def test_merge_of_nothing(self) -> None:
        """PFMERGE has a key even if there is nothing to merge; the server's GETKEYS says it has none."""
        self.assertEqual(keys("PFMERGE a"), [1])

    def test_patterns(self) -> None:
        """Patterns of SORT that name other keys are found; what names none is not."""
        cases = {
            "SORT k BY w_* GET # GET o_*->f STORE BY": [3, 7],
            "SORT_RO k LIMIT BY BY BY nosort GET v_*": [8],
            "SORT k BY": [],
            "GET BY": [],
        }
        for text, places in cases.items():
            args = text.encode().split()
            self.assertEqual(found(text).patterns(args), places, text)

    def test_channels(self) -> None:
        """Shard channels are found; they are no keys."""
        command = found("SSUBSCRIBE")
        self.assertEqual(command.channels([b"SSUBSCRIBE", b"a", b"b"]), [1, 2])
        self.assertEqual(command.keys([b"SSUBSCRIBE", b"a", b"b"]), [])


#: Words that mean something to one command or another, so that generated arguments are not all nonsense.
WORDS = (
    "STORE STOREDIST STREAMS KEYS BY GET LIMIT COUNT BLOCK GROUP NOACK AUTH AUTH2 WITHSCORES WEIGHTS LEFT"
    " RIGHT AND NOT 0 1 2 3 4 -1 x 2 1 3 a b c dd keys store streams"
).split()

#: The shapes of commands whose keys are hard to find; names with a capital stand for generated parts.
SHAPES = (
    "EVAL s N KEYS rest", "EVALSHA s N KEYS rest", "EVAL_RO s N KEYS", "FCALL f N KEYS rest",
    "FCALL_RO f N KEYS", "XREAD COUNT 2 STREAMS HALVES", "XREAD STREAMS HALVES",
    "XREAD BLOCK 0 COUNT 1 streams HALVES", "XREADGROUP GROUP g c STREAMS HALVES",
    "XREADGROUP GROUP streams STREAMS NOACK STREAMS HALVES", "ZUNION N KEYS WITHSCORES",
    "ZINTER N KEYS WEIGHTS 1 2", "ZDIFF N KEYS", "ZINTERCARD N KEYS LIMIT 2", "SINTERCARD N KEYS",
    "ZUNIONSTORE d N KEYS", "ZINTERSTORE d N KEYS AGGREGATE MAX", "ZDIFFSTORE d N KEYS",
    "ZRANGESTORE d s 0 -1", "SORT k STORE d", "SORT k BY w_* GET # GET store LIMIT 0 5 STORE d",
    "SORT k GET STORE STORE d STORE e", "SORT_RO k GET STORE", "BITOP AND d KEYS", "BITOP NOT d k",
    "MIGRATE h 1 k 0 9", "MIGRATE h 1 EMPTY 0 9 KEYS KEYS",
    "MIGRATE h 1 EMPTY 0 9 COPY AUTH keys KEYS KEYS", "MIGRATE h 1 EMPTY 0 9 AUTH2 keys keys KEYS KEYS",
    "MIGRATE h 1 k 0 9 KEYS KEYS", "OBJECT ENCODING k", "OBJECT FREQ k", "LMPOP N KEYS LEFT",
    "ZMPOP N KEYS MIN", "BLMPOP 0 N KEYS LEFT", "BZMPOP 0 N KEYS MAX", "GEORADIUS k 1 1 1 m STORE d",
    "GEORADIUS k 1 1 1 m STOREDIST d", "GEORADIUS k 1 1 1 m COUNT 1 ASC STORE d",
    "GEORADIUSBYMEMBER k m 1 m STORE d", "GEORADIUSBYMEMBER k store 1 m STOREDIST d STORE e",
    "GEOSEARCHSTORE d s FROMMEMBER m BYRADIUS 1 m", "MEMORY USAGE k SAMPLES 5",
    "XGROUP CREATE k g 0 MKSTREAM", "XGROUP DESTROY k g", "XINFO STREAM k FULL", "LCS a b LEN",
    "COPY a b DB 1 REPLACE", "RENAME a b", "SMOVE a b m", "LMOVE a b LEFT RIGHT", "BLMOVE a b LEFT RIGHT 0",
    "BRPOPLPUSH a b 0", "BLPOP KEYS 0", "BZPOPMIN KEYS 0", "MGET KEYS", "MSET PAIRS", "MSETNX PAIRS",
    "DEL KEYS", "PFCOUNT KEYS", "PFMERGE d KEYS", "SINTERSTORE d KEYS", "SUNION KEYS", "WATCH KEYS",
    "SET k v EX 9 GET", "BITFIELD k GET u4 0", "GETEX k",
)  # fmt: skip


class RealServerTests(SynchronousTestCase):
    """The key positions of a real server."""

    server: ClassVar[RedisServer]

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = RedisServer()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.server.stop()

    def compare(self, lines: list[list[bytes]]) -> int:
        """Hold the keys of these commands against COMMAND GETKEYS; return how many had some."""
        talk = self.server.talk()
        self.addCleanup(talk.close)
        had = 0
        answers = talk.ask_all([[b"COMMAND", b"GETKEYS", *line] for line in lines])
        for line, answer in zip(lines, answers, strict=True):
            command = find(line[0])
            assert command is not None
            if isinstance(answer, ErrorReply) and "no key arguments" in answer.text:
                answer = []
            try:
                ours: object = [line[index] for index in command.keys(line)]
            except BadKeys:
                self.assertIsInstance(answer, ErrorReply, f"{line}: {answer}")
                continue
            had += bool(answer)
            self.assertEqual(ours, answer, line)
        return had

    def test_shapes(self) -> None:
        """Commands whose keys are hard to find have the keys that the server finds."""
        chance = random.Random(1)
        lines = [list(shaped(shape, chance)) for shape in SHAPES for _ in range(40)]
        self.assertGreater(self.compare(lines), 40 * len(SHAPES) * 2 // 3)

    def test_words(self) -> None:
        """Every command has the keys that the server finds, whatever words its arguments are."""
        chance = random.Random(2)
        lines = [line for name in self.names() for line in wordy(name, chance) if agreed(line)]
        self.assertGreater(self.compare(lines), 5000)

    def names(self) -> list[list[bytes]]:
        """Return the names of the commands and subcommands of the server."""
        talk = self.server.talk()
        self.addCleanup(talk.close)
        entries = talk.ask("COMMAND")
        names = [each[0] for entry in entries for each in (entry, *entry[9])]
        # A server lists them in an order that is another one each time.
        return [name.split(b"|") for name in sorted(names)]


def agreed(line: list[bytes]) -> bool:
    """Whether the server's GETKEYS is to be believed, which takes no notice of some mistakes."""
    command = resolve(line)
    if command is None or not command.accepts(len(line)) or command.name in ("zrank", "zrevrank"):
        return False
    if command.name == "pfmerge":
        return len(line) > 2
    words = [word.upper() for word in line]
    # What has too little after the last word is looked at in another way, which finds anything.
    if command.name == "migrate":
        return words[-1] != b"KEYS" and words.count(b"KEYS") < 2
    if command.name.startswith("xread"):
        return b"STREAMS" not in words[-2:]
    # It takes the key that is called store for the word, and with both words the first of each.
    stores = sum(word in (b"STORE", b"STOREDIST") for word in words)
    return stores < 2 or not command.name.startswith("georadius")


def wordy(name: list[bytes], chance: random.Random) -> Iterator[list[bytes]]:
    """Yield commands of that name with arguments by chance."""
    for _ in range(60):
        words = chance.choices(WORDS, k=chance.randrange(1, 10))
        yield [*name, *(word.encode() for word in words)]


def shaped(shape: str, chance: random.Random) -> Iterator[bytes]:
    """Yield the arguments of a command of that shape."""
    names = [b"k%d" % chance.randrange(100) for _ in range(chance.randrange(1, 5))]
    for index, part in enumerate(shape.split()):
        if index == 0:
            yield chance.choice([part, part.lower(), part.title()]).encode()
        elif part == "KEYS" and shape.split()[index - 1] != "9" and shape.split()[index + 1 :] != ["KEYS"]:
            yield from names
        elif part == "HALVES":
            yield from names
            yield from (b"0-0" for _ in names)
        elif part == "PAIRS":
            yield from (each for name in names for each in (name, b"v"))
        elif part == "N":
            yield b"%d" % (len(names) if chance.random() < 0.9 else chance.randrange(-1, 7))
        else:
            yield b"" if part == "EMPTY" else part.encode()
