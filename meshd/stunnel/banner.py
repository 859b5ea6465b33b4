"""
What the command says of itself: version, help, defaults.

The lines begin as stunnel's, since programs look at them.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Mapping

from OpenSSL import SSL

from meshd.stunnel.extras import GLOBAL_EXTRAS, SERVICE_EXTRAS
from meshd.stunnel.global_options import GLOBAL
from meshd.stunnel.model import CIPHERS, CIPHERSUITES, CURVES, Service
from meshd.stunnel.service_options import SERVICE

#: The stunnel whose place this takes.
VERSION = "5.75"

USAGE = (
    " ",
    "Syntax:",
    "stunnel [<filename>] ] -fd <n> | -help | -version | -sockets | -options",
    "    <filename>  - use specified config file",
    "    -fd <n>     - read the config file from a file descriptor",
    "    -help       - get config file help",
    "    -version    - display version and defaults",
    "    -sockets    - display default socket options",
    "    -options    - display supported TLS options",
)


def lines() -> list[str]:
    """Return the lines that each start begins with."""
    platform = sysconfig.get_config_var("HOST_GNU_TYPE") or "unknown"
    openssl = SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode()
    return [
        f"stunnel {VERSION} on {platform} platform",
        f"Compiled/running with {openssl}",
        "Threading:NONE Sockets:EPOLL,IPv6,SYSTEMD TLS:OCSP,PSK,SNI",
    ]


def help_text() -> str:
    """Return what -help prints: the names of all options."""
    text = ["Global options:", *_names(GLOBAL)]
    text += ["Service-level options:", *_names(SERVICE)]
    text += ["Options of meshd's own, in comments (; meshd: name = value):"]
    text += [f"    {name}" for name in (*GLOBAL_EXTRAS, *SERVICE_EXTRAS)]
    return "\n".join(text) + "\n"


def _names(table: Mapping[str, tuple[str, object]]) -> list[str]:
    return [f"    {name}" for name, _ in table.values()] + [" "]


def defaults_text() -> str:
    """Return what -version prints after the banner."""
    service = Service()
    tls = service.tls
    pairs = [
        ("ciphers", CIPHERS),
        ("ciphersuites", f"{CIPHERSUITES} (with TLSv1.3)"),
        ("curves", CURVES),
        ("debug", "daemon.notice"),
        ("logId", service.log_id),
        ("options", "NO_SSLv2"),
        ("options", "NO_SSLv3"),
        ("securityLevel", "2"),
        ("sessionCacheSize", str(tls.session_cache_size)),
        ("sessionCacheTimeout", f"{tls.session_timeout} seconds"),
        ("TIMEOUTbusy", f"{service.timeout_busy} seconds"),
        ("TIMEOUTclose", f"{service.timeout_close} seconds"),
        ("TIMEOUTconnect", f"{service.timeout_connect} seconds"),
        ("TIMEOUTidle", f"{service.timeout_idle} seconds"),
        ("verify", "none"),
    ]
    text = [" ", "Service-level options:", *(f"{name:<22} = {value}" for name, value in pairs)]
    return "\n".join(text) + "\n"
