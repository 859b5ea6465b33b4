"""
The options of a section; before the first section they are the defaults of all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshd.stunnel import values
from meshd.stunnel.model import Service
from meshd.stunnel.tls_names import OPTIONS
from meshd.stunnel.values import Bad
from meshd.tls.ocsp import FLAGS

Set = Callable[[Service, str], None]
Read = Callable[[str], object]


def _owner(service: Service, path: str) -> tuple[Any, str]:
    """Return the object and the name of its attribute that a dotted path means."""
    owner: Any = service
    *parts, last = path.split(".")
    for part in parts:
        owner = getattr(owner, part)
    return owner, last


def _plain(path: str, read: Read = str) -> Set:
    def put(service: Service, value: str) -> None:
        owner, name = _owner(service, path)
        setattr(owner, name, read(value))

    return put


def _list(path: str, read: Read = str) -> Set:
    def put(service: Service, value: str) -> None:
        owner, name = _owner(service, path)
        getattr(owner, name).append(read(value))

    return put


def _idle(name: str, read: Read = str) -> Set:
    """Take an option that means nothing here, and remember to say so."""

    def put(service: Service, value: str) -> None:
        read(value)
        service.idle.append(name)

    return put


def _refused(message: str) -> Set:
    def put(service: Service, value: str) -> None:
        raise Bad(message)

    return put


def _debug(service: Service, value: str) -> None:
    _, service.level = values.level(value)


def _version(service: Service, value: str) -> None:
    service.tls.min_version = service.tls.max_version = values.version(value)


def _verify(service: Service, value: str) -> None:
    """Read the old levels: 0 request, 1 chain if present, 2 chain, 3 chain and peer, 4 peer."""
    level = values.number("Bad verify level", 0, 4)(value)
    tls = service.tls
    tls.request_cert = True
    tls.require_cert = level >= 2
    tls.verify_chain = 1 <= level <= 3
    tls.verify_peer = level >= 3


def _yes_and_required(path: str) -> Set:
    """Read verifyChain and verifyPeer, which imply requireCert."""

    def put(service: Service, value: str) -> None:
        wanted = values.yes_no(value)
        owner, name = _owner(service, path)
        setattr(owner, name, wanted)
        if wanted:
            service.tls.request_cert = service.tls.require_cert = True

    return put


def _require_cert(service: Service, value: str) -> None:
    wanted = values.yes_no(value)
    service.tls.require_cert = wanted
    if wanted:
        service.tls.request_cert = True


def _sni(service: Service, value: str) -> None:
    service.sni = value
    service.sni_patterns.append(value)


def _option(value: str) -> str:
    name = value.removeprefix("-")
    known = OPTIONS.get(name.upper())
    if known is None:
        raise Bad("Illegal TLS option")
    return "-" + known if value.startswith("-") else known


def _command(value: str) -> tuple[str, str]:
    name, _, parameter = value.partition(":")
    return name, parameter


def _transparent(service: Service, value: str) -> None:
    word = {"yes": "source", "no": "none"}.get(value.lower(), value.lower())
    if word not in ("none", "source", "destination", "both"):
        raise Bad("Selected transparent proxy mode is not available")
    service.transparent = word


def _failover(value: str) -> bool:
    return values.one_of(("rr", "prio"), "The argument needs to be either 'rr' or 'prio'")(value) == "rr"


def _local(service: Service, value: str) -> None:
    try:
        service.local = values.resolve(value)[0]
    except Bad as bad:
        raise Bad("Failed to resolve local address", *bad.lines) from None


def _libwrap(service: Service, value: str) -> None:
    service.libwrap = values.yes_no(value)


def _ocsp_flag(service: Service, value: str) -> None:
    """Read a flag: one that leaves a check out, one that changes nothing here, or one that is refused."""
    name = _ocsp(value).upper()
    if name in FLAGS:
        service.tls.ocsp_flags.append(name)
    elif name in values.OCSP_REFUSED:
        raise Bad(
            f"OCSPflag {name} is not supported: meshd believes the issuer, and those whom it has authorized"
        )
    elif name not in values.OCSP_HOLDS:
        service.idle.append(f"OCSPflag {name}")


_yes = values.yes_no
_cache_time = values.number("Illegal session cache timeout")
_ocsp = values.one_of(values.OCSP_FLAGS, "Illegal OCSP flag")
_log_id = values.one_of(values.LOG_IDS, "Invalid connection identifier type")

SERVICE: dict[str, tuple[str, Set]] = {
    name.lower(): (name, put)
    for name, put in {
        "accept": _list("accept_names"),
        "CAengine": _idle("CAengine"),
        "CApath": _plain("tls.ca_path"),
        "CAfile": _plain("tls.ca_file"),
        "CAstore": _refused("CAstore is not supported: meshd reads certificates from files only"),
        "cert": _plain("tls.cert"),
        "checkEmail": _list("tls.check_emails"),
        "checkHost": _list("tls.check_hosts"),
        "checkIP": _list("tls.check_ips"),
        "ciphers": _plain("tls.ciphers"),
        "ciphersuites": _plain("tls.ciphersuites"),
        "client": _plain("client", _yes),
        "config": _list("tls.commands", _command),
        "connect": _list("connect_names"),
        "CRLpath": _plain("tls.crl_path"),
        "CRLfile": _plain("tls.crl_file"),
        "curve": _plain("tls.curves"),
        "curves": _plain("tls.curves"),
        "debug": _debug,
        "delay": _plain("delay", _yes),
        "engineId": _refused("Engine ID not found"),
        "engineNum": _refused("Illegal engine number"),
        "exec": _plain("exec"),
        "execArgs": _plain("exec_args", values.words),
        "failover": _plain("round_robin", _failover),
        "ident": _plain("ident"),
        "key": _plain("tls.key"),
        "libwrap": _libwrap,
        "local": _local,
        "logId": _plain("log_id", _log_id),
        "OCSP": _plain("tls.ocsp_url"),
        "OCSPaia": _plain("tls.ocsp_aia", _yes),
        "OCSPflag": _ocsp_flag,
        "OCSPnonce": _plain("tls.ocsp_nonce", _yes),
        "OCSPrequire": _plain("tls.ocsp_require", _yes),
        "options": _list("tls.options", _option),
        "protocol": _plain("protocol.name", str.lower),
        "protocolAuthentication": _plain("protocol.authentication", str.lower),
        "protocolDomain": _plain("protocol.domain"),
        "protocolHeader": _list("protocol.headers"),
        "protocolHost": _plain("protocol.host"),
        "protocolPassword": _plain("protocol.password"),
        "protocolUsername": _plain("protocol.username"),
        "PSKidentity": _plain("tls.psk_identity"),
        "PSKsecrets": _plain("tls.psk_secrets"),
        "pty": _plain("pty", _yes),
        "redirect": _list("redirect_names"),
        "renegotiation": _plain("tls.renegotiation", _yes),
        "requireCert": _require_cert,
        "reset": _plain("reset", _yes),
        "retry": _plain("retry", values.retry),
        "securityLevel": _plain("tls.security_level", values.number("Illegal security level", 0, 5)),
        "service": _plain("name"),
        "session": _plain("tls.session_timeout", _cache_time),
        "sessionCacheSize": _plain("tls.session_cache_size", values.number("Illegal session cache size")),
        "sessionCacheTimeout": _plain("tls.session_timeout", _cache_time),
        "sessionResume": _plain("tls.session_resume", _yes),
        "sessiond": _idle("sessiond"),
        "setgid": _plain("setgid", values.group),
        "setuid": _plain("setuid", values.user),
        "sni": _sni,
        "socket": _list("sockets", values.socket_option),
        "sslVersion": _version,
        "sslVersionMax": _plain("tls.max_version", values.version),
        "sslVersionMin": _plain("tls.min_version", values.version),
        "stack": _idle("stack", values.number("Illegal thread stack size")),
        "ticketKeySecret": _plain("tls.ticket_key", values.secret("ticketKeySecret")),
        "ticketMacSecret": _plain("tls.ticket_mac", values.secret("ticketMacSecret")),
        "TIMEOUTbusy": _plain("timeout_busy", values.seconds("Illegal busy timeout")),
        "TIMEOUTclose": _plain("timeout_close", values.seconds("Illegal close timeout")),
        "TIMEOUTconnect": _plain("timeout_connect", values.seconds("Illegal connect timeout")),
        "TIMEOUTidle": _plain("timeout_idle", values.seconds("Illegal idle timeout")),
        "TIMEOUTocsp": _plain("tls.ocsp_timeout", values.seconds("Illegal OCSP timeout")),
        "transparent": _transparent,
        "verify": _verify,
        "verifyChain": _yes_and_required("tls.verify_chain"),
        "verifyPeer": _yes_and_required("tls.verify_peer"),
    }.items()
}
