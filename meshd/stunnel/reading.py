"""
Reads a stunnel.conf: lines into options, sections and their defaults, then the checks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from meshd.stunnel import psk
from meshd.stunnel.checks import check, check_globals
from meshd.stunnel.extras import GLOBAL_EXTRAS, SERVICE_EXTRAS
from meshd.stunnel.global_options import GLOBAL
from meshd.stunnel.model import INFO, NOTICE, WARNING, Configuration, Service
from meshd.stunnel.service_options import SERVICE
from meshd.stunnel.syntax import Failure, Line, decode, included, lines
from meshd.stunnel.values import Bad

Say = Callable[[int, str], None]

NO_EQUALS = "No '=' found"
NOT_VALID = "Specified option name is not valid here"
#: How deep files may include files.
DEEPEST = 10


def read_file(path: str) -> bytes:
    """Return what a file holds; raise OSError."""
    with open(path, "rb") as file:
        return file.read()


class Reader:
    """
    Reads one configuration.

    say is told what goes into the log, with its level; read returns what an included file holds;
    extras are those of the command line, which every section begins with.
    """

    def __init__(
        self,
        say: Say,
        read: Callable[[str], bytes] = read_file,
        extras: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.say = say
        self.read = read
        self.found = Configuration()
        for name, value in extras.items():
            self._extra(Line("command line", 1, f"--{name}={value}", "extra", name, value))
        self._began = False
        self._depth = 0

    def configuration(self, data: bytes, path: str) -> Configuration:
        """Return what the file's bytes say; raise Failure, after saying why."""
        text, mark = decode(data)
        if text:
            self.say(NOTICE, f"UTF-8 byte order mark {'' if mark else 'not '}detected")
        for line in self._lines(text, path):
            self._line(line)
        self._end()
        if self.found.inetd:
            self._complete(self.found.defaults, "The")
        return self.found

    def _lines(self, text: str, path: str) -> Iterator[Line]:
        for line in lines(text, path):
            if line.kind == "option" and line.name.lower() == "include":
                yield from self._included(line)
            else:
                yield line

    def _included(self, line: Line) -> Iterator[Line]:
        if self._depth >= DEEPEST:
            raise line.failure("Failed to include directory", ("the files include each other",))
        self._depth += 1
        for path, text in included(line, self.read):
            try:
                for each in self._lines(text, path):
                    self._line(each)
            except Failure as failure:
                before = (*failure.before, failure.text)
                raise line.failure("Failed to include a file", before) from None
        self._depth -= 1
        yield from ()

    def _line(self, line: Line) -> None:
        if line.kind == "section":
            self._end()
            self._begin_section(line.name)
        elif line.kind == "broken":
            raise line.failure(NO_EQUALS)
        elif line.kind == "extra":
            self._extra(line)
        else:
            self._option(line)

    # Sections.

    def _begin_section(self, name: str) -> None:
        service = copy.deepcopy(self.found.defaults)
        service.name = name
        self.found.services.append(service)
        self.say(INFO, f"Initializing service [{name}]")

    def _end(self) -> None:
        """Complete the section that ends here; or what is global, and in inetd mode the service."""
        found = self.found
        if found.services:
            self._complete(found.services[-1], f"Service [{found.services[-1].name}]: the")
            return
        if not self._began:
            self._began = True
            check_globals(found.globals)
            self.say(NOTICE, "FIPS mode disabled")
            self.say(INFO, "Compression disabled")
            for name in found.globals.idle:
                self.say(WARNING, f'The option "{name}" has no effect')

    def _complete(self, service: Service, whose: str) -> None:
        for name in service.idle:
            self.say(WARNING, f'{whose} option "{name}" has no effect')
        check(service, self.found, self.say)

    # Options.

    def _option(self, line: Line) -> None:
        found, name = self.found, line.name.lower()
        service = found.services[-1] if found.services else found.defaults
        try:
            if name in SERVICE and (found.services or name not in GLOBAL):
                SERVICE[name][1](service, line.value)
                if name == "psksecrets":
                    self._read_secrets(line)
            elif name in GLOBAL and not found.services:
                GLOBAL[name][1](found.globals, service, line.value)
            else:
                raise line.failure(NOT_VALID)
        except Bad as bad:
            raise line.failure(bad.text, bad.lines) from None

    def _read_secrets(self, line: Line) -> None:
        try:
            psk.read_secrets(line.value, self.say)
        except psk.BadSecrets as bad:
            raise line.failure("Failed to read PSK secrets", (str(bad),)) from None

    def _extra(self, line: Line) -> None:
        found, name = self.found, line.name.lower()
        known = SERVICE_EXTRAS if found.services else {**GLOBAL_EXTRAS, **SERVICE_EXTRAS}
        if name not in known:
            raise line.failure(f'meshd has no extra option "{line.name}" here')
        try:
            known[name](line.value)
        except Bad as bad:
            raise line.failure(bad.text, bad.lines) from None
        if not found.services and name in GLOBAL_EXTRAS:
            found.extras[name] = line.value
        else:
            service = found.services[-1] if found.services else found.defaults
            service.extras[name] = line.value
