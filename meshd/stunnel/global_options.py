"""
The options of the whole process: valid only before the first section.
"""

from __future__ import annotations

from collections.abc import Callable

from meshd.stunnel import values
from meshd.stunnel.model import Globals, Service
from meshd.stunnel.values import Bad

#: Sets an option: in what is global, or in what stands for all sections.
Set = Callable[[Globals, Service, str], None]


def _plain(field: str, read: Callable[[str], object] = str) -> Set:
    def put(options: Globals, service: Service, value: str) -> None:
        setattr(options, field, read(value))

    return put


def _idle(name: str, read: Callable[[str], object] = str) -> Set:
    """Take an option that means nothing here, and remember to say so."""

    def put(options: Globals, service: Service, value: str) -> None:
        read(value)
        options.idle.append(name)

    return put


def _refused(name: str, why: str) -> Set:
    def put(options: Globals, service: Service, value: str) -> None:
        raise Bad(f'"{name}" is not supported: {why}')

    return put


def _debug(options: Globals, service: Service, value: str) -> None:
    facility, service.level = values.level(value)
    if facility:
        options.facility = facility


def _fips(options: Globals, service: Service, value: str) -> None:
    if values.yes_no(value):
        # The OpenSSL that cryptography brings has no FIPS provider.
        raise Bad("FIPS provider is not available", "Enabling FIPS provider failed")


def _compression(options: Globals, service: Service, value: str) -> None:
    if value.lower() not in ("deflate", "zlib"):
        raise Bad("Specified compression type is not available")
    options.idle.append("compression")


def _environment(options: Globals, service: Service, value: str) -> None:
    name, equals, text = value.partition("=")
    if not equals or not name:
        raise Bad("The argument needs to be NAME=VALUE")
    options.environment[name] = text


_FOREGROUND = "The argument needs to be either 'yes', 'quiet' or 'no'"
_LOG = "The argument needs to be either 'append' or 'overwrite'"
_RANDOM = "Illegal number of bytes to read from random seed files"
_ENGINES = "OpenSSL has no engines any more"
_PROVIDERS = "the OpenSSL that is built in loads no providers"
_log = values.one_of(("append", "overwrite"), _LOG)

GLOBAL: dict[str, tuple[str, Set]] = {
    name.lower(): (name, put)
    for name, put in {
        "chroot": _plain("chroot"),
        "compression": _compression,
        "debug": _debug,
        "EGD": _idle("EGD"),
        "engine": _idle("engine"),
        "engineCtrl": _idle("engineCtrl"),
        "engineDefault": _idle("engineDefault"),
        "fips": _fips,
        "foreground": _plain("foreground", values.one_of(("yes", "quiet", "no"), _FOREGROUND)),
        "iconActive": _idle("iconActive"),
        "iconError": _idle("iconError"),
        "iconIdle": _idle("iconIdle"),
        "log": _plain("overwrite_log", lambda value: _log(value) == "overwrite"),
        "output": _plain("output"),
        "pid": _plain("pid"),
        "provider": _refused("provider", _PROVIDERS),
        "providerParameter": _refused("providerParameter", _PROVIDERS),
        "RNDbytes": _idle("RNDbytes", values.number(_RANDOM)),
        "RNDfile": _idle("RNDfile"),
        "RNDoverwrite": _idle("RNDoverwrite", values.yes_no),
        "setEnv": _environment,
        "setgid": _plain("setgid", values.group),
        "setuid": _plain("setuid", values.user),
        "syslog": _plain("syslog", values.yes_no),
        "taskbar": _idle("taskbar", values.yes_no),
    }.items()
}
