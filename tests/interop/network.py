"""A network of its own for a test, so that nothing of what is done to it is left."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_libc = ctypes.CDLL(None, use_errno=True)


def may_make() -> bool:
    """Whether we are allowed to: root is."""
    return os.geteuid() == 0


@contextlib.contextmanager
def own_network(*commands: str) -> Iterator[None]:
    """
    Be in a new network with nothing but the loopback, changed by the commands, for a while.

    That holds for this thread, and for the threads and processes that it starts meanwhile.
    """
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _check(_libc.unshare(_CLONE_NEWNET))
        try:
            for command in ("ip link set lo up", *commands):
                done = subprocess.run(
                    command.split(),
                    env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, f"{command}: {done.stderr}"
            yield
        finally:
            _check(_libc.setns(before, _CLONE_NEWNET))
    finally:
        os.close(before)


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def own_files(instead: dict[str, Path]) -> None:
    """Have other files at some paths, for this thread and what it starts: the thread is to end soon."""
    _check(_libc.unshare(_CLONE_NEWNS))
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))
    for path, file in instead.items():
        if not os.path.exists(path):
            Path(path).touch()
        _check(_libc.mount(str(file).encode(), path.encode(), None, _MS_BIND, None))


def in_thread(scene: Callable[[], Result]) -> Result:
    """Return what a scene returns that is played in a thread of its own; raise what it raises."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(scene).result()
