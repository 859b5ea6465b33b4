"""
HTML made of calls: tags.p("a < b", class_="dim") is <p class="dim">a &lt; b</p>.

Whatever is not Html already is escaped, so no text can become a tag.
twisted.web.template does the same, with Deferreds, at ten times the cost: the
page is drawn every two seconds, in the thread that relays.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape

#: Tags that have no content, and no end.
_VOID = frozenset({"input", "link", "meta"})


class Html(str):
    """Text that is HTML."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str) -> Html:
    """
    Return a tag with its children.

    An underscore at the end of an attribute's name is dropped, as for class_.
    """
    written = "".join([f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items()])
    if name in _VOID:
        return Html(f"<{name}{written}>")
    inner = "".join([child if isinstance(child, Html) else escape(child) for child in children])
    return Html(f"<{name}{written}>{inner}</{name}>")


class _Tags:
    """Makes tags by their names: tags.p(...) is tag("p", ...)."""

    def __getattr__(self, name: str) -> Callable[..., Html]:
        def make(*children: str, **attributes: str) -> Html:
            return tag(name, *children, **attributes)

        # Kept, so that this is asked once for each name.
        setattr(self, name, make)
        return make


tags = _Tags()
