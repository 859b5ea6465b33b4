"""
The three properties that every codec keeps, as functions for its tests.

A codec here is any object whose receive(data) returns a list of events.
Chunks do not matter; what was encoded decodes to itself; rubbish raises the
codec's own error or gives events, and never anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

T = TypeVar("T")
Make = Callable[[], Any]


def cut(data: bytes, points: Iterable[int]) -> list[bytes]:
    """Return data in pieces, cut at the points; those outside of it are left out."""
    ends = sorted({point for point in points if 0 < point < len(data)})
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


def split_anywhere(data: bytes) -> SearchStrategy[list[bytes]]:
    """Return a hypothesis strategy of all the ways to cut data into pieces."""
    from hypothesis import strategies

    if len(data) < 2:
        return strategies.just([data])
    return strategies.sets(strategies.integers(1, len(data) - 1)).map(lambda points: cut(data, points))


def events_of(make: Make, chunks: Sequence[bytes], error: type[Exception]) -> tuple[list[Any], str | None]:
    """Return the events that a new codec gives for the chunks, and the text of its error, if any."""
    codec, events = make(), []
    try:
        for chunk in chunks:
            events += codec.receive(chunk)
    except error as problem:
        return events, str(problem)
    return events, None


def check_chunks(make: Make, chunks: Sequence[bytes], error: type[Exception]) -> None:
    """
    Check that the chunks, their bytes in one piece and byte by byte mean the same.

    The events before an error may differ (a codec may raise before it returns
    those of the same piece); whether there is an error may not.  Raise
    AssertionError.
    """
    whole = b"".join(chunks)
    seen = [events_of(make, pieces, error) for pieces in (chunks, [whole], cut(whole, range(len(whole))))]
    assert len({problem is None for _, problem in seen}) == 1, f"an error in some cuttings only: {seen}"
    if seen[0][1] is None:
        assert seen[0] == seen[1] == seen[2], f"the events depend on the cutting: {seen}"


def check_round_trip(decode: Callable[[bytes], T], encode: Callable[[T], bytes], value: T) -> None:
    """Check that value decodes to itself after it was encoded.  Raise AssertionError."""
    wire = encode(value)
    assert decode(wire) == value, f"{value!r} became {wire!r}, and that {decode(wire)!r}"


def check_rubbish(receive: Callable[[bytes], object], data: bytes, error: type[Exception]) -> None:
    """Check that receive(data) returns or raises error; let anything else through."""
    try:
        receive(data)
    except error:
        pass
