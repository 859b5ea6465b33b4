"""
Every command of Redis and of its modules: its arguments, its keys, and how it goes through a proxy.

The facts (arity, flags, ACL categories, key positions) are in the tables, which
are made from the servers' own COMMAND; the kinds are told here, since no server
knows them.  A kind says what a proxy in front of several servers has to do:

===========  ==========================================================================
single       one key, which tells the server
multi        several keys (or a script's, which may be none), which must be in one place
split        several keys, each of which may go its own way; the answers are put together
all          every server is asked; the answers are put together
local        the proxy answers itself
keyless      any server can answer
blocking     may wait at the server, and needs a connection of its own meanwhile (see blocks)
pubsub       about channels; subscriptions need a connection of their own
transaction  MULTI and what belongs to it
session      changes the state of the connection to the server, which then cannot be shared
refused      makes no sense, or is not safe, through a proxy
===========  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen

from meshd.filters.network.redis_proxy import command_table, module_table, subcommand_table
from meshd.filters.network.redis_proxy.key_specs import BadKeys, Search, only_key, read_spec, sort_patterns

__all__ = ["BadKeys", "Command", "find", "resolve"]


@frozen(eq=False)
class Command:
    """What is known of a command; of a subcommand too, whose name is written config|get."""

    name: str
    #: How many arguments with the name; negative: at least so many.
    arity: int
    #: As COMMAND says them: write, readonly, fast, blocking, ...
    flags: frozenset[str]
    #: The ACL categories, without their @.
    acl: frozenset[str]
    kind: str
    #: Where the only key is, if it is always there; else 0.
    first: int
    _keys: Search
    _channels: Search
    #: By name, in small letters.
    subcommands: Mapping[bytes, Command] = field(factory=dict)

    def accepts(self, count: int) -> bool:
        """Whether it can have that many arguments, its name counted."""
        return count == self.arity if self.arity >= 0 else count >= -self.arity

    def keys(self, args: Sequence[bytes]) -> list[int]:
        """
        Return the indexes of all keys in args, whose first is the command's name.

        They are those of COMMAND GETKEYS.  Raise BadKeys where the arguments
        are wrong: the server has an error for them.
        """
        command = self._inner(args)
        return command._keys(args)

    def channels(self, args: Sequence[bytes]) -> list[int]:
        """Return the indexes of the shard channels, which are hashed as keys are; BadKeys."""
        return self._inner(args)._channels(args)

    def patterns(self, args: Sequence[bytes]) -> list[int]:
        """
        Return the indexes of arguments that name other keys by a pattern: SORT's BY and GET.

        The server looks for those keys at itself; in several places the answer
        would be wrong.  Redis Cluster refuses them.
        """
        return sort_patterns(args) if self.name in ("sort", "sort_ro") else []

    def blocks(self, args: Sequence[bytes]) -> bool:
        """Whether the server may wait before it answers: XREAD does only with BLOCK."""
        if self.kind != "blocking":
            return False
        if self.name not in ("xread", "xreadgroup"):
            return True
        options = [each.upper() for each in args]
        return b"BLOCK" in options[: options.index(b"STREAMS") if b"STREAMS" in options else None]

    def _inner(self, args: Sequence[bytes]) -> Command:
        """Return the command, or the subcommand, that args are for."""
        command = self
        if self.subcommands and len(args) > 1:
            inner = self.subcommands.get(args[1].lower())
            if inner is None:
                raise BadKeys("there is no such subcommand")
            command = inner
        if not command.accepts(len(args)):
            raise BadKeys("the number of arguments is wrong")
        return command


def find(name: bytes) -> Command | None:
    """Return the command of that name, in whatever case; None if nobody knows it."""
    return _COMMANDS.get(name) or _COMMANDS.get(name.lower())


def resolve(args: Sequence[bytes]) -> Command | None:
    """Return the command that args are for: the subcommand, if there is one of that name."""
    command = find(args[0])
    if command is None or not command.subcommands or len(args) < 2:
        return command
    return command.subcommands.get(args[1].lower(), command)


_KINDS = {
    "split": "mget mset del exists touch unlink",
    "all": """
        bgrewriteaof bgsave config|get config|resetstat config|rewrite config|set dbsize flushall flushdb
        function|delete function|dump function|flush function|kill function|list function|load
        function|restore function|stats info keys lastsave latency|doctor latency|graph latency|histogram
        latency|history latency|latest latency|reset memory|doctor memory|malloc-stats memory|purge
        memory|stats module|list pubsub|channels pubsub|numpat pubsub|numsub pubsub|shardchannels
        pubsub|shardnumsub randomkey save scan script|exists script|flush script|kill script|load
        slowlog|get slowlog|len slowlog|reset commandlog|get commandlog|len commandlog|reset swapdb wait
        waitaof ft._list ft.config ft.dictadd ft.dictdel ft.dictdump ts.mget ts.mrange
        ts.mrevrange ts.queryindex""",
    "local": """
        acl|whoami auth client|capa client|getname client|id client|info client|no-evict client|reply
        client|setinfo client|setname command command|count command|docs command|getkeys
        command|getkeysandflags command|info command|list echo hello ping quit readonly readwrite reset
        role time""",
    "blocking": "",
    "pubsub": """
        psubscribe publish punsubscribe spublish ssubscribe subscribe sunsubscribe unsubscribe""",
    "transaction": "discard exec multi unwatch watch",
    "session": """
        client|caching client|getredir client|no-touch client|tracking client|trackinginfo monitor
        select""",
    "refused": """
        acl|deluser acl|dryrun acl|getuser acl|list acl|load acl|log acl|save acl|setuser acl|users asking
        client|import-source client|kill client|list client|pause client|unblock client|unpause cluster
        clusterscan commandlog debug failover hotkeys module module|load module|loadex module|unload
        pfselftest psync replconf replicaof restore-asking script|debug script|show shutdown slaveof sync""",
}


#: Where the keys are, in a proxy's eyes: an alias is found only if it belongs where its index is, and
#: dictionaries, which indexes anywhere use, belong nowhere.
_SPECS = {
    **dict.fromkeys(("ft.aliasadd", "ft.aliasupdate", "ft._aliasaddifnx"), "1..2"),
    **dict.fromkeys(("ft.dictadd", "ft.dictdel", "ft.dictdump"), "-"),
}


def _kinds() -> dict[str, str]:
    return {name: kind for kind, names in _KINDS.items() for name in names.split()}


def _kind(name: str, flags: frozenset[str], spec: str) -> str:
    """Tell the kind of a command that the list above does not have."""
    if name.startswith("cluster|") and name != "cluster|help":
        return "refused"
    if "blocking" in flags:
        return "blocking"
    if spec == "-":
        return "keyless"
    return "single" if only_key(spec) else "multi"


def _implied(flags: frozenset[str], groups: Sequence[str]) -> frozenset[str]:
    """Return the ACL categories that follow from flags, as Redis's setImplicitACLCategories does."""
    found = {"fast" if "fast" in flags else "slow", *(flags & {"write", "admin", "pubsub", "blocking"})}
    if "admin" in flags:
        found.add("dangerous")
    if "readonly" in flags and "scripting" not in groups:
        found.add("read")
    return frozenset(found)


def _split(text: str) -> list[str]:
    return [] if text == "-" else text.split(",")


def _read_row(row: str, kinds: Mapping[str, str], inner: Mapping[bytes, Command]) -> Command:
    name, arity, flag_text, group_text, spec = row.split(maxsplit=4)
    flags, groups = frozenset(_split(flag_text)), _split(group_text)
    spec = _SPECS.get(name, spec)
    keys, channels = read_spec("" if spec == "-" else spec)
    kind = kinds.get(name) or _kind(name, flags, spec)
    acl = _implied(flags, groups) | frozenset(groups)
    return Command(name, int(arity), flags, acl, kind, only_key(spec), keys, channels, inner)


def _read_tables() -> dict[bytes, Command]:
    """Return all commands by their names, in small and in capital letters."""
    kinds = _kinds()
    inner: dict[str, dict[bytes, Command]] = {}
    for row in subcommand_table.ROWS.strip().splitlines():
        command = _read_row(row, kinds, {})
        container, _, word = command.name.partition("|")
        inner.setdefault(container, {})[word.encode()] = command
    found = {}
    for row in (command_table.ROWS + module_table.ROWS).split("\n"):
        if row:
            command = _read_row(row, kinds, inner.get(row.split()[0], {}))
            found[command.name.encode()] = found[command.name.upper().encode()] = command
    return found


_COMMANDS = _read_tables()
