"""
Runs a script: a conversation with two peers, written as a generator.

A script yields what it wants (Line, Exactly, Until, First, Resolve) and is sent
the answer; or it yields Say or Target, which only come out.  It returns an
Outcome, or raises Failed.
"""

from __future__ import annotations

import enum
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal

Side = Literal["client", "server"]
CLIENT: Side = "client"
SERVER: Side = "server"

#: Bytes of a line, its end not counted: stunnel's limit.
LINE_LIMIT = 65536
#: Lines that one answer may have.
LINES_LIMIT = 512
#: Bytes that a peer may say before it is its turn.
EARLY_LIMIT = 4 * LINE_LIMIT


class Failed(Exception):
    """
    The dialogue cannot go on; the text says why.

    reset says that both connections end with a RST; else what was said last is
    to reach the peer, and a FIN follows.
    """

    def __init__(self, text: str, reset: bool = True) -> None:
        super().__init__(text)
        self.text = text
        self.reset = reset


class Outcome(enum.Enum):
    """What comes after a script: TLS, or the peers speak to each other."""

    START_TLS = enum.auto()
    DONE = enum.auto()


# What a script wants to be sent.


@dataclass(frozen=True)
class Line:
    """A line of side's, in bytes, without its end (LF) and without any CR."""

    side: Side


@dataclass(frozen=True)
class Exactly:
    """So many bytes of side's."""

    side: Side
    size: int


@dataclass(frozen=True)
class Until:
    """The bytes of side's before the next zero byte, which is taken too; limit of them at most."""

    side: Side
    limit: int


@dataclass(frozen=True)
class First:
    """Whether the client says anything before it is spoken to; seconds long it has time to."""

    seconds: float


@dataclass(frozen=True)
class Resolve:
    """The IP addresses of a name, as text; none if it has none."""

    name: str


# What comes out.


@dataclass(frozen=True)
class Say:
    """Bytes for side."""

    side: Side
    data: bytes


@dataclass(frozen=True)
class Target:
    """Where the client wants to be connected to: IP addresses in order, and a port."""

    addresses: tuple[str, ...]
    port: int


Want = Line | Exactly | Until | First | Resolve | Say | Target
Script = Generator[Want, Any, Outcome]
#: What the dialogue asks of who runs it: say, connect, look up, let time pass; and its end, last.
Action = Say | Target | First | Resolve | Outcome | Failed


class Dialogue:
    """
    One run of a script.

    start, received, ended, waited and resolved return what is to be done, in
    order.  After an Outcome or Failed there is nothing more; rest() then has the
    bytes that came and were not wanted.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self._buffers = {CLIENT: bytearray(), SERVER: bytearray()}
        self._ended: set[Side] = set()
        self._searched = 0
        self._want: Want | None = None
        self.over = False

    def start(self) -> list[Action]:
        """Begin."""
        return self._go_on(None)

    def received(self, side: Side, data: bytes) -> list[Action]:
        """Take bytes of one side; after the end it keeps them for rest()."""
        buffer = self._buffers[side]
        buffer += data
        actions = self._look()
        if len(buffer) > EARLY_LIMIT and not any(isinstance(each, Outcome | Failed) for each in actions):
            self._script.close()
            actions += self._finish(Failed(f"the {side} says too much before its turn"))
        return actions

    def ended(self, side: Side) -> list[Action]:
        """Take note that one side will say no more."""
        self._ended.add(side)
        return self._look()

    def waited(self) -> list[Action]:
        """Take note that the time of First is over; nothing if the client has spoken."""
        return self._go_on(False) if isinstance(self._want, First) and not self.over else []

    def resolved(self, addresses: list[str]) -> list[Action]:
        """Answer the last Resolve."""
        return self._go_on(addresses) if isinstance(self._want, Resolve) and not self.over else []

    def rest(self, side: Side) -> bytes:
        """Take what side said that the script did not want."""
        rest = bytes(self._buffers[side])
        self._buffers[side].clear()
        return rest

    def _look(self) -> list[Action]:
        """Go on if what the script wants is there."""
        want = self._want
        if self.over or want is None or isinstance(want, Resolve):
            return []
        try:
            found = self._find(want)
        except Failed as failed:
            self._script.close()
            return self._finish(failed)
        return [] if found is None else self._go_on(found)

    def _go_on(self, answer: Any) -> list[Action]:
        """Send the script its answer, and those after that are there already."""
        actions: list[Action] = []
        try:
            while answer is not _LATER:
                want = self._script.send(answer)
                self._want = want
                self._searched = 0
                answer = self._answer(want, actions)
        except StopIteration as stop:
            actions += self._finish(stop.value)
        except Failed as failed:
            actions += self._finish(failed)
        return actions

    def _answer(self, want: Want, actions: list[Action]) -> Any:
        """Return the answer if there is one yet, and let out what is for others."""
        if isinstance(want, Say | Target):
            actions.append(want)
            return None
        if isinstance(want, Resolve):
            actions.append(want)
            return _LATER
        found = self._find(want)
        if found is None and isinstance(want, First):
            actions.append(want)
        return _LATER if found is None else found

    def _find(self, want: Want) -> Any:
        """Take what is wanted from the buffers; None if it is not there yet, Failed if it cannot come."""
        if isinstance(want, First):
            return True if self._buffers[CLIENT] else False if CLIENT in self._ended else None
        assert isinstance(want, Line | Exactly | Until)
        buffer = self._buffers[want.side]
        if isinstance(want, Exactly):
            found = self._take(buffer, want.size, 0) if len(buffer) >= want.size else None
        else:
            found = self._find_end(want, buffer)
        if found is None and want.side in self._ended:
            raise Failed(f"the {want.side} closed the connection unexpectedly")
        return found

    def _find_end(self, want: Line | Until, buffer: bytearray) -> bytes | None:
        mark, limit = (b"\n", LINE_LIMIT) if isinstance(want, Line) else (b"\0", want.limit)
        at = buffer.find(mark, self._searched)
        if at > limit or (at < 0 and len(buffer) > limit):
            raise Failed(f"what the {want.side} says is too long")
        if at < 0:
            self._searched = len(buffer)
            return None
        found = self._take(buffer, at, 1)
        return found.replace(b"\r", b"") if isinstance(want, Line) else found

    def _take(self, buffer: bytearray, size: int, more: int) -> bytes:
        taken = bytes(buffer[:size])
        del buffer[: size + more]
        return taken

    def _finish(self, end: Action) -> list[Action]:
        self.over = True
        return [end]


_LATER = object()


# What scripts are made of.


def say(side: Side, *lines: bytes | str) -> Say:
    """Return what says the lines to side, each with CR LF."""
    return Say(side, b"".join((each.encode() if isinstance(each, str) else each) + b"\r\n" for each in lines))


def starts(line: bytes, word: bytes) -> bool:
    """Whether line begins with word, in upper or lower case."""
    return line[: len(word)].upper() == word


def last_of(side: Side, more: bytes) -> Generator[Want, Any, bytes]:
    """Take the lines of an answer of many, all but the last of which begin with more; return the last."""
    for _ in range(LINES_LIMIT):
        line: bytes = yield Line(side)
        if not line.startswith(more):
            return line
    raise Failed(f"the answer of the {side} has too many lines")
