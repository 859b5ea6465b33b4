"""
Ports for the programs of tests.

None is given twice, and none is of those that the kernel gives to outgoing connections
(from 32768 on, unless it is told otherwise): of these one could be taken before the program has it, or while
the program is down, and a client that calls there again and again gets through to itself in the end.
"""

from __future__ import annotations

import contextlib
import random
import socket
from itertools import cycle, islice

#: What a Redis Cluster adds to a port, for the port of its bus: that has to be free, too.
BUS = 10000

_FIRST = 12000
_ports = cycle(random.sample(range(_FIRST, _FIRST + BUS), BUS))


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody has, nor the one of its bus."""
    for port in islice(_ports, BUS):
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as bus:
            one.bind(("127.0.0.1", port))
            bus.bind(("127.0.0.1", port + BUS))
            return port
    raise AssertionError("all ports are taken")
