"""The tables of commands as the tests see them."""

from collections.abc import Iterator

from meshd.filters.network.redis_proxy import command_table, module_table, subcommand_table
from meshd.filters.network.redis_proxy.commands import Command, resolve

#: The key specification of each command.
TABLE = {
    row.split()[0]: row.split(maxsplit=4)[4]
    for table in (command_table, subcommand_table, module_table)
    for row in table.ROWS.strip().splitlines()
}


def leaves() -> Iterator[Command]:
    """Yield all commands and subcommands, but not those that only hold subcommands."""
    for name in TABLE:
        command = resolve(name.encode().split(b"|"))
        assert command is not None and command.name == name
        if not command.subcommands or command.name == "command":
            yield command
