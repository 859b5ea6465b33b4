"""What does each kind of command (commands says which is of which kind)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshd.filters.network.redis_proxy import commands
from meshd.filters.network.redis_proxy.channels import told_by_name
from meshd.filters.network.redis_proxy.dedicated import blocking
from meshd.filters.network.redis_proxy.fan_out import fan_out, scan, shard_info
from meshd.filters.network.redis_proxy.keyed import keyless, multi, single, split
from meshd.filters.network.redis_proxy.local import ASK_SERVER, local
from meshd.filters.network.redis_proxy.pubsub import pubsub
from meshd.filters.network.redis_proxy.session import session
from meshd.filters.network.redis_proxy.sorting import sort
from meshd.filters.network.redis_proxy.transaction import transaction

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.table import Act, Entry


def container(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    """A command with subcommands: CONFIG GET, CLIENT ID."""
    command = commands.resolve(arguments)
    if len(arguments) < 2 and not (command is not None and command.name == "command"):
        client.invalid(entry)
        return
    assert command is not None
    if command.subcommands and command.name != "command":
        client.shared.stats.unsupported.inc()
        _refuse(client, arguments)
        return
    inner = client.table.of_leaf(command)
    inner.stats.total.value += 1
    inner.act(client, inner, arguments, raw)


def refused(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    """A command that makes no sense through a proxy."""
    if "|" in entry.name and not entry.name.startswith("cluster|"):
        client.shared.stats.unsupported.inc()
        _refuse(client, arguments)
    elif entry.name.startswith("cluster"):
        client.reply(b"-ERR This instance has cluster support disabled\r\n")
    else:
        client.unknown(arguments)


def _refuse(client: Client, arguments: list[bytes]) -> None:
    """Say, in Envoy's words, that there is no such subcommand."""
    names = [each[:64].replace(b"\r", b"").replace(b"\n", b"") for each in arguments[:2]]
    client.reply(b"-ERR %b subcommand '%b' is not supported by the proxy\r\n" % (names[0].upper(), names[1]))


def denied(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    """A command that the options refuse, as an ACL of Redis would."""
    client.shared.stats.refused.inc()
    entry.stats.error.value += 1
    text = b"NOPERM User %b has no permissions to run the '%b' command"
    client.reply(b"-%b\r\n" % (text % (client.user, entry.name.encode())))


ACTIONS: dict[str, Act] = {
    "single": single,
    "multi": multi,
    "split": split,
    "all": fan_out,
    "local": local,
    "keyless": keyless,
    "blocking": blocking,
    "pubsub": pubsub,
    "transaction": transaction,
    "session": session,
    "refused": refused,
    "container": container,
    "denied": denied,
}

#: Commands that are served otherwise than others of their kind.
BY_NAME: dict[str, Act] = {
    "scan": scan,
    "info.shard": shard_info,
    "sort": sort,
    "sort_ro": sort,
    "pubsub|channels": told_by_name,
    "pubsub|numsub": told_by_name,
    "pubsub|shardchannels": told_by_name,
    "pubsub|shardnumsub": told_by_name,
    **dict.fromkeys(ASK_SERVER, keyless),
}
