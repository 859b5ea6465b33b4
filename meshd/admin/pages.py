"""
The HTML pages: / with all that runs, and /stats?format=html.

What comes from a config or a client is escaped: see markup.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from meshd.admin import parts
from meshd.admin.look import POLICY, SCRIPT, STYLE
from meshd.admin.markup import Html, tags
from meshd.admin.menu import MENU, Command, Parameter
from meshd.admin.query import HTML, Answer, Query, Server

#: Commands that have more than one form, and what the page offers of them.
_ALSO = {
    "/clusters": (("json", "/clusters?format=json"),),
    "/listeners": (("json", "/listeners?format=json"),),
    "/config_dump": (("with endpoints", "/config_dump?include_eds"),),
    "/stats": (
        ("used only", "/stats?usedonly"),
        ("json", "/stats?format=json"),
        ("html", "/stats?format=html"),
    ),
    "/stats/prometheus": (("used only", "/stats/prometheus?usedonly"),),
}

_CONFIRM = {
    "/quitquitquit": "Exit this server?",
    "/drain_listeners": "Close the listeners of this server?",
    "/healthcheck/fail": "Let this server fail its health checks?",
}

#: An icon, so that the browser does not ask for /favicon.ico.
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Cpath d='M2 13V4l6 6 6-6v9' fill='none' stroke='%232f5fd0' stroke-width='2.4'/%3E%3C/svg%3E"
)


def home(server: Server, query: Query) -> Answer:
    """Answer /; with part=live only the parts that change."""
    if query.get("part") == "live":
        return _html(tags.div(parts.state_pill(server), *_live(server)))
    body = tags.main(
        *_live(server),
        tags.h2("Statistics"),
        _statistics(),
        tags.h2("Commands", id="commands"),
        _commands(),
    )
    return _page(server, body)


def stats_page(server: Server, query: Query) -> Answer:
    """Answer /stats?format=html: only the table of the statistics."""
    body = tags.main(tags.h2("Statistics"), _statistics(query.get("filter") or "", query.has("usedonly")))
    return _page(server, body)


def _live(server: Server) -> list[Html]:
    return [
        tags.div(*parts.summary(server), id="summary", **{"data-live": ""}),
        tags.section(*parts.listeners(server), id="listeners", **{"data-live": ""}),
        tags.section(*parts.clusters(server), id="clusters", **{"data-live": ""}),
    ]


def _html(page: str) -> Answer:
    headers = (
        ("content-security-policy", POLICY),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
    )
    return Answer(page, content_type=HTML, headers=headers)


def _page(server: Server, body: Html) -> Answer:
    top = tags.header(
        tags.div(
            tags.h1(tags.a("meshd", href="/")),
            parts.state_pill(server),
            tags.nav(
                tags.a("listeners", href="/#listeners"),
                tags.a("clusters", href="/#clusters"),
                tags.a("statistics", href="/#stats"),
                tags.a("commands", href="/#commands"),
                tags.label(tags.input(type="checkbox", id="live", checked=""), "live", class_="script"),
            ),
        )
    )
    said = tags.dialog(
        tags.header(tags.b(id="title"), tags.form(tags.button("Close", autofocus=""), method="dialog")),
        tags.pre(tags.code(id="answer")),
        id="said",
    )
    head = tags.head(
        tags.meta(charset="utf-8"),
        tags.meta(name="viewport", content="width=device-width, initial-scale=1"),
        tags.title(parts.title(server)),
        tags.link(rel="icon", href=_ICON),
        tags.style(Html(STYLE)),
    )
    page = tags.html(head, tags.body(top, body, said, tags.script(Html(SCRIPT))), lang="en")
    return _html(f"<!DOCTYPE html>\n{page}\n")


def _commands() -> Html:
    looks = [command for command in MENU if not command.post and command.path != "/"]
    changes = [command for command in MENU if command.post]
    return tags.div(
        tags.div(tags.h3("Look"), tags.ul(*map(_link, looks)), class_="card look"),
        tags.div(tags.h3("Change"), tags.ul(*map(_button, changes)), class_="card"),
        class_="commands",
    )


def _link(command: Command) -> Html:
    also = [tags.a(text, href=href) for text, href in _ALSO.get(command.path, ())]
    return tags.li(
        tags.a(tags.code(command.path), href=command.path),
        tags.p(_sentence(command.help)),
        tags.span(*also, class_="also"),
        title=_hint(command),
    )


def _button(command: Command) -> Html:
    fields = [_field(parameter) for parameter in command.parameters]
    if command.path == "/runtime_modify":
        # The key is the name of the parameter: only the script can send it.
        text = tags.input(name="pairs", placeholder="key=value", size="22", **{"aria-label": "key=value"})
        fields.append(tags.span(text, class_="script"))
    form = tags.form(
        tags.button(command.path, class_="mono danger" if command.path in _CONFIRM else "mono"),
        *fields,
        method="post",
        action=command.path,
        **({"data-confirm": _CONFIRM[command.path]} if command.path in _CONFIRM else {}),
    )
    return tags.li(form, tags.p(_sentence(command.help.partition(". ")[0])), title=_hint(command))


def _field(parameter: Parameter) -> Html:
    if parameter.flag:
        box = tags.input(type="checkbox", name=parameter.name, value="1")
        return tags.label(box, parameter.name, title=parameter.help)
    if parameter.choices:
        options = [tags.option(choice or parameter.name, value=choice) for choice in parameter.choices]
        return tags.select(*options, name=parameter.name, title=parameter.help)
    return tags.input(name=parameter.name, placeholder=parameter.name, size="18", title=parameter.help)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _hint(command: Command) -> str:
    def lines() -> Iterator[str]:
        yield _sentence(command.help)
        for parameter in command.parameters:
            yield f"{parameter.name}: {parameter.help}"

    return "\n".join(lines())


def _statistics(pattern: str = "", used: bool = True) -> Html:
    box = {"checked": ""} if used else {}
    tools = tags.form(
        tags.input(
            type="search",
            id="filter",
            name="filter",
            value=pattern,
            placeholder="filter: a regular expression",
            **{"aria-label": "filter"},
        ),
        tags.label(tags.input(type="checkbox", id="used", name="usedonly", value="1", **box), "used only"),
        tags.span(id="count", class_="dim script"),
        tags.button("show as text", class_="noscript"),
        class_="tools",
        method="get",
        action="/stats",
    )
    head = tags.thead(
        tags.tr(tags.th("Name"), tags.th("Value", class_="number"), tags.th("Change", class_="number"))
    )
    table = tags.div(tags.table(head, tags.tbody(id="rows")), class_="scroll")
    return tags.div(tools, table, class_="card", id="stats")
