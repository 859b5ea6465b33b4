"""Which command does what: an Entry for each command that was ever sent, found by its name in any case."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from meshd.filters.network.redis_proxy import commands
from meshd.filters.network.redis_proxy.actions import ACTIONS, BY_NAME, denied
from meshd.filters.network.redis_proxy.commands import Command
from meshd.filters.network.redis_proxy.keyed import single, split
from meshd.filters.network.redis_proxy.stats import CommandStats

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.options import Options
    from meshd.filters.network.redis_proxy.settings import Fault, Settings

#: What does a command: it gets the client, the entry, the arguments (the name is the first) and their bytes.
Act = Callable[["Client", "Entry", list[bytes], bytes], None]

#: Spellings (GeT) that are remembered.
_SPELLINGS = 2048

#: What an injected error is, in Envoy's words.
FAULT = b"-Fault Injected: Error\r\n"

#: Commands that run scripts, which may write whatever their flags say.
_SCRIPTS = frozenset({"eval", "evalsha", "fcall"})


class Entry:
    """A command, or a subcommand, as one redis_proxy serves it."""

    __slots__ = ("act", "command", "first", "gathers", "name", "quick", "reads", "stats", "writes")

    def __init__(self, name: str, command: Command, act: Act, stats: CommandStats) -> None:
        self.name = name
        self.command = command
        self.act = act
        self.stats = stats
        #: Where its only key is; 0: see command.keys.
        self.first = command.first
        #: Whether nothing but its first argument decides where it goes.
        self.quick = act is single and command.first == 1
        #: Whether its reply is the values of its keys.
        self.gathers = act is split and name == "mget"
        self.reads = "readonly" in command.flags
        self.writes = "write" in command.flags or name in _SCRIPTS


class Table:
    """The entries of one redis_proxy under one set of options."""

    def __init__(self, settings: Settings, options: Options) -> None:
        self._settings = settings
        self._options = options
        self._entries: dict[str, Entry] = {}
        #: By the names as clients wrote them.
        self.spelt: dict[bytes, Entry] = {}

    def find(self, name: bytes) -> Entry | None:
        """Return the entry of a name in any case; None if there is no such command."""
        entry = self.spelt.get(name)
        if entry is None:
            command = commands.find(name)
            if command is None:
                return self._custom(name)
            entry = self.of(command)
            if len(self.spelt) < _SPELLINGS:
                self.spelt[name] = entry
        return entry

    def of(self, command: Command) -> Entry:
        """Return the entry of a command or subcommand."""
        entry = self._entries.get(command.name)
        if entry is None:
            kind = "container" if command.subcommands else command.kind
            entry = self._entries[command.name] = self._make(command, kind)
        return entry

    def of_leaf(self, command: Command) -> Entry:
        """Return the entry of what a container has inside: COMMAND by itself is one too."""
        if not command.subcommands:
            return self.of(command)
        name = f"{command.name}|"
        entry = self._entries.get(name)
        if entry is None:
            entry = self._entries[name] = self._make(command, command.kind)
        return entry

    def _custom(self, name: bytes) -> Entry | None:
        """Return the entry of a custom command, or of one that is Envoy's own."""
        text = name.decode("latin-1").lower()
        model = b"info" if text in BY_NAME else b"set"
        if text not in self._settings.custom and text not in BY_NAME:
            return None
        entry = self._entries.get(text)
        if entry is None:
            command = commands.find(model)
            assert command is not None
            entry = self._entries[text] = self._make(command, "single", text)
        return entry

    def _make(self, command: Command, kind: str, name: str = "") -> Entry:
        name = name or command.name
        act = (kind != "container" and BY_NAME.get(name)) or ACTIONS[kind]
        stats = CommandStats(self._settings.scope.scope(f"command.{name.replace('|', '.')}"))
        if kind != "container" and self.is_refused(command, name):
            act = denied
        faults = [each for each in self._settings.faults if not each.commands or name in each.commands]
        if faults and kind != "local":
            act = with_faults(act, faults)
        return Entry(name, command, act, stats)

    def is_refused(self, command: Command, name: str) -> bool:
        """Whether the options refuse a command."""
        options = self._options
        if options.read_only and ("write" in command.flags or name in _SCRIPTS):
            return True
        if not options.refused:
            return False
        container = name.partition("|")[0]
        return not options.refused.isdisjoint(
            {name, container, *(f"@{category}" for category in command.acl)}
        )


def with_faults(act: Act, faults: list[Fault]) -> Act:
    """Return act with faults before it: the first that is enabled, as in Envoy."""

    def faulty(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
        runtime: Any = client.shared.context.runtime
        for fault in faults:
            if not runtime.sampled(fault.enabled):
                continue
            if fault.is_error:
                entry.stats.error_fault.inc()
                if fault.delay:
                    client.later(fault.delay, lambda: client.reply(FAULT))
                else:
                    client.reply(FAULT)
            else:
                entry.stats.delay_fault.inc()
                client.later(fault.delay, lambda: act(client, entry, arguments, raw))
            return
        act(client, entry, arguments, raw)

    return faulty
