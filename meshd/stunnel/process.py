"""
What becomes of the process: root directory, user, background, pid file; what systemd hands over.

The order is stunnel's: sockets first, then these.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import socket
import sys
from collections.abc import Callable, MutableMapping
from contextlib import suppress

import meshd
from meshd.stunnel.model import DEBUG, ERR, Globals
from meshd.stunnel.syntax import Failure

Say = Callable[[int, str], None]
#: The first descriptor that systemd hands over.
LISTEN_FDS_START = 3


#: What the standard library imports when it is first needed.
_LATE = ("encodings.idna", "stringprep", "unicodedata", "traceback", "linecache")


def import_all() -> None:
    """Import what is else imported when it is first needed: from another root directory it cannot be."""
    for name in _LATE:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(meshd.__path__, "meshd."):
        if module.name not in sys.modules and not module.name.startswith("meshd.testing"):
            with suppress(Exception):  # a plugin that cannot be imported is not used either
                importlib.import_module(module.name)


def change_root(options: Globals, say: Say) -> None:
    """Make a directory the root; raise Failure if that is not allowed."""
    if not options.chroot:
        return
    import_all()
    try:
        os.chroot(options.chroot)
        os.chdir("/")
    except OSError as error:
        raise Failure(f"chroot: {error.strerror} ({error.errno})") from None
    say(DEBUG, f"Switched to chroot directory: {options.chroot}")


def drop_privileges(options: Globals) -> None:
    """Become another user and group; raise Failure if that is not allowed."""
    try:
        if options.setgid is not None:
            os.setgid(options.setgid)
            os.setgroups([options.setgid])
        if options.setuid is not None:
            os.setuid(options.setuid)
    except OSError as error:
        name = "setuid" if options.setgid is None or os.getgid() == options.setgid else "setgid"
        raise Failure(f"{name}: {error.strerror} ({error.errno})") from None


def go_to_background() -> None:
    """Go on in a child without terminal; this process ends with status 0."""
    if os.fork():
        os._exit(0)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    os.close(nothing)


class PidFile:
    """The file that says which process this is."""

    def __init__(self, path: str, say: Say) -> None:
        self._path = path
        self._say = say
        self._owner = 0

    def write(self) -> None:
        """Write it; raise Failure if it cannot be."""
        if not self._path:
            self._say(DEBUG, "No pid file being created")
            return
        try:
            if os.path.exists(self._path):
                os.unlink(self._path)
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_EXCL, 0o644)
        except OSError as error:
            raise Failure(
                f"Cannot create pid file {self._path}", (f"create: {error.strerror} ({error.errno})",)
            ) from None
        with os.fdopen(fd, "w") as file:
            file.write(f"{os.getpid()}\n")
        self._owner = os.getpid()
        self._say(DEBUG, f"Created pid file {self._path}")

    def remove(self) -> None:
        """Remove it, if it was this process that wrote it."""
        if not self._path or self._owner != os.getpid():
            self._say(DEBUG, "No pid file to remove")
            return
        try:
            os.unlink(self._path)
        except OSError as error:
            self._say(ERR, f"{self._path}: {error.strerror} ({error.errno})")
        else:
            self._say(DEBUG, f"Removed pid file {self._path}")


def from_systemd(environ: MutableMapping[str, str], pid: int, say: Say) -> list[socket.socket]:
    """Return the listening sockets that systemd has opened for this process, none mostly."""
    count = environ.pop("LISTEN_FDS", "")
    owner = environ.pop("LISTEN_PID", "")
    environ.pop("LISTEN_FDNAMES", None)
    if owner != str(pid) or not count.isdecimal():
        return []
    say(5, f"Systemd socket activation: {count} descriptors received")
    found = []
    for fd in range(LISTEN_FDS_START, LISTEN_FDS_START + int(count)):
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        os.set_inheritable(fd, False)
        found.append(sock)
    return found
