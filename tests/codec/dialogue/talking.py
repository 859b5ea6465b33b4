"""Talks to a script, for the tests of the dialogues."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from meshd.codec.dialogue.script import (
    CLIENT,
    SERVER,
    Action,
    Dialogue,
    Failed,
    Outcome,
    Resolve,
    Say,
    Script,
    Side,
    Target,
)

#: What is said, in order: by whom, and what.
Words = Sequence[tuple[Side, bytes]]

NAMES = {"here.example": ["192.0.2.7", "2001:db8::7"], "localhost": ["127.0.0.1"]}


class Talk:
    """
    One run of a script: heard has what each side was told, end how it ended.

    Names are looked up in NAMES; IP addresses are found as they are.
    """

    def __init__(self, script: Script) -> None:
        self.heard: dict[Side, bytes] = {CLIENT: b"", SERVER: b""}
        self.target: Target | None = None
        self.end: Outcome | None = None
        self.failed: Failed | None = None
        self.asked: list[Action] = []
        self.run = Dialogue(script)
        self.take(self.run.start())

    def take(self, actions: list[Action]) -> None:
        """Do what the script wants."""
        for action in actions:
            if isinstance(action, Say):
                self.heard[action.side] += action.data
            elif isinstance(action, Resolve):
                name = action.name
                literal = name.replace(".", "").isdigit() or ":" in name
                self.take(self.run.resolved([name] if literal else NAMES.get(name, [])))
            elif isinstance(action, Target):
                self.target = action
            elif isinstance(action, Outcome):
                self.end = action
            elif isinstance(action, Failed):
                self.failed = action
            else:
                self.asked.append(action)

    def say(self, side: Side, data: bytes) -> None:
        """Let one side say something."""
        self.take(self.run.received(side, data))

    def close(self, side: Side) -> None:
        """Let one side say no more."""
        self.take(self.run.ended(side))

    def rest(self) -> tuple[bytes, bytes]:
        """Return what client and server said that nobody wanted."""
        return self.run.rest(CLIENT), self.run.rest(SERVER)


def talk(script: Script, *words: tuple[Side, bytes], wait: bool = False) -> Talk:
    """Run the script with these words said; with wait the client lets the time of First pass before."""
    made = Talk(script)
    if wait:
        made.take(made.run.waited())
    for side, data in words:
        made.say(side, data)
    return made


def events(script: Callable[[], Script], words: Words, wait: bool) -> object:
    """Return all that came of the words, cut as they are."""
    made = talk(script(), *words, wait=wait)
    failed = made.failed
    how = (failed.text, failed.reset) if failed else made.end
    return made.heard, made.target, how, None if failed else made.rest()


def check_cutting(
    script: Callable[[], Script], words: Words, cuts: Sequence[int], wait: bool = False
) -> None:
    """Check that the same comes of words, however each of them is cut."""
    whole = events(script, words, wait)
    pieces: list[tuple[Side, bytes]] = []
    for side, data in words:
        places = sorted({min(cut, len(data)) for cut in cuts})
        bounds = [0, *places, len(data)]
        pieces += [(side, data[start:end]) for start, end in pairwise(bounds) if start < end]
    singles = [(side, bytes((byte,))) for side, data in words for byte in data]
    assert events(script, pieces, wait) == whole
    assert events(script, singles, wait) == whole


def meet(client: Script, server: Script, greeting: bytes = b"") -> tuple[Talk, Talk]:
    """
    Let a script that speaks to a server meet one that speaks to a client.

    greeting is what the backend of the latter says first.
    """
    one, other = Talk(client), Talk(server)
    other.take(other.run.waited())
    if greeting:
        other.say(SERVER, greeting)
    told = {"one": 0, "other": 0}
    for _ in range(100):
        to_other, to_one = one.heard[SERVER][told["one"] :], other.heard[CLIENT][told["other"] :]
        if not to_other and not to_one:
            return one, other
        told["one"] += len(to_other)
        told["other"] += len(to_one)
        if to_other:
            other.say(CLIENT, to_other)
        if to_one:
            one.say(SERVER, to_one)
    raise AssertionError("they talk for ever")
