"""Listener filters.  A module put here is found; see docs/writing_a_filter.rst."""

from twisted.plugin import pluginPackagePaths

__path__.extend(pluginPackagePaths(__name__))
__all__: list[str] = []
