"""
Asks /etc/hosts.allow and /etc/hosts.deny (hosts_access(5)) whether a client may come: TCP wrappers.

The library reads the files anew each time, and may look names up, so that it is
asked in a thread.  It is not reentrant: one question at a time.
"""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import struct
from functools import cache
from threading import Lock
from typing import Any

LIBRARY = "libwrap.so.0"
#: The keys of request_set(3), from tcpd.h.
_RQ_FILE, _RQ_DAEMON, _RQ_CLIENT_SIN, _RQ_SERVER_SIN = 1, 2, 6, 9
#: Bytes for a struct request_info, with room to spare: it has some 900.
_REQUEST = 4096
_END = ctypes.c_int(0)
_lock = Lock()
#: sock_host(), which says how names are found, wants a connected socket: one for all questions.
_connected = cache(socket.socketpair)


class Wrappers:
    """The library; raise OSError if it is not installed."""

    def __init__(self) -> None:
        self._library: Any = ctypes.CDLL(LIBRARY)
        # Else the option "twist" would put another program in the place of this process.
        ctypes.c_int.in_dll(self._library, "resident").value = 1

    def permits(self, daemon: str, remote: tuple[str, int], local: tuple[str, int]) -> bool:
        """Whether a client at remote may speak with daemon at local; this may block."""
        library = self._library
        client, server = _address(*remote), _address(*local)
        request = ctypes.create_string_buffer(_REQUEST)
        with _lock:
            fd = ctypes.c_int(_connected()[0].fileno())
            name = ctypes.c_char_p(daemon.encode())
            library.request_init(request, ctypes.c_int(_RQ_FILE), fd, ctypes.c_int(_RQ_DAEMON), name, _END)
            library.sock_host(request)
            library.request_set(
                request, ctypes.c_int(_RQ_CLIENT_SIN), client, ctypes.c_int(_RQ_SERVER_SIN), server, _END
            )
            return bool(library.hosts_access(request))


def _address(host: str, port: int) -> Any:
    """Return a sockaddr_in or sockaddr_in6, in a buffer."""
    ip = ipaddress.ip_address(host)
    if ip.version == 4:
        data = struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + ip.packed + bytes(8)
    else:
        scope = int(getattr(ip, "scope_id", None) or 0)
        data = struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", port, 0)
        data += ip.packed + struct.pack("=I", scope)
    return ctypes.create_string_buffer(data, 128)
