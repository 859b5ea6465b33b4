"""Tests for meshd.observe.format."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.observe.format import DEFAULT, Command, compile_json, compile_text, parse, unparse
from meshd.plugin import ConfigError
from tests.observe.connections import refused, relayed

# A parameter may hold all but what would end it.
PARAMETERS = st.none() | st.text(st.characters(exclude_characters="()%:\n", exclude_categories=["Cs"]))
COMMANDS = st.builds(
    Command, st.from_regex(r"[A-Z0-9_]+", fullmatch=True), PARAMETERS, st.none() | st.integers(0)
)
TEXTS = st.text(min_size=1)


class TestParse:
    """The parser of formats."""

    def test_pieces(self) -> None:
        """A format is texts and commands, in turn."""
        assert parse("a%%b %REQ(X?Y):3% %DURATION%") == [
            *("a%b ", Command("REQ", "X?Y", 3), " ", Command("DURATION"))
        ]

    def test_parameters(self) -> None:
        """A parameter may have percent signs and closing parentheses."""
        assert parse("%START_TIME(%Y/%m)%%DURATION%") == [Command("START_TIME", "%Y/%m"), Command("DURATION")]
        assert parse('%COALESCE({"a":"f(x)"})%') == [Command("COALESCE", '{"a":"f(x)"}')]
        assert parse("%REQ()%") == [Command("REQ", "")]

    @given(st.lists(TEXTS | COMMANDS))
    def test_round_trip(self, pieces: list[str | Command]) -> None:
        """What is written of pieces is read as the same pieces."""
        joined: list[str | Command] = []
        for piece in pieces:
            if joined and isinstance(piece, str) and isinstance(joined[-1], str):
                joined[-1] += piece
            else:
                joined.append(piece)
        assert parse(unparse(joined)) == joined

    @given(st.text(alphabet="%()AZ_09:a{}? \n", max_size=30))
    def test_rubbish(self, text: str) -> None:
        """Any text is a format that is written as it was, or a ConfigError."""
        try:
            pieces = parse(text)
        except ConfigError as error:
            assert re.search("Couldn't find valid command at position [0-9]+$", error.message)
            return
        assert parse(unparse(pieces)) == pieces

    @pytest.mark.parametrize(
        ("text", "position"),
        [
            *(("%BYTES_SENT", 0), ("abc %", 4), ("%%%", 2), ("%foo%", 0)),
            *(("%BYTES_SENT(%", 0), ("%BYTES_SENT:x%", 0)),
        ],
    )
    def test_wrong(self, text: str, position: int) -> None:
        """What is no format is refused as Envoy refuses it."""
        with pytest.raises(ConfigError) as raised:
            parse(text)
        wanted = f"Incorrect configuration: {text}. Couldn't find valid command at position {position}"
        assert raised.value.message == wanted


class TestText:
    """Formats that are text."""

    def test_default(self) -> None:
        """The default format is Envoy's, with little to say of TCP."""
        assert compile_text(DEFAULT)(relayed()) == (
            '[2026-11-23T06:34:10.128Z] "- - -" 0 - 25 25 71 - "-" "-" "-" "-" "127.0.0.1:24903"\n'
        )
        assert compile_text(DEFAULT)(refused()) == (
            '[2026-11-23T06:34:10.128Z] "- - -" 0 NC 0 0 0 - "-" "-" "-" "-" "-"\n'
        )

    def test_omitted(self) -> None:
        """What is empty can be left out; the dash of no flags is none of it."""
        text = "%PROTOCOL%|%UPSTREAM_HOST%|%RESPONSE_FLAGS%|%BYTES_SENT%"
        assert compile_text(text)(relayed()) == "-|127.0.0.1:24903|-|25"
        assert compile_text(text, omit_empty=True)(relayed()) == "|127.0.0.1:24903|-|25"

    def test_literal(self) -> None:
        """A format without commands is the same for all; percent signs are doubled."""
        assert compile_text("100%% {} %%s\n")(relayed()) == "100% {} %s\n"
        assert compile_text("")(relayed()) == ""
        assert compile_text("100%% %DURATION% %%s")(relayed()) == "100% 71 %s"


class TestJson:
    """Formats that are JSON: what is expected was logged by Envoy 1.40."""

    STRUCT: dict[str, Any] = {
        "zero": "%RESPONSE_CODE%",
        "lit": 5.0,
        "flt": 1.5,
        "big": 1e20,
        "t": True,
        "nul": None,
        "mix": "a=%RESPONSE_CODE% b=%PROTOCOL% c=%BYTES_SENT%",
        "nest": {"z": "%PROTOCOL%", "a": ["%BYTES_SENT%", "x", {"q": "%DURATION%"}, []], "e": {}},
        "uni": 'é"\\\n\t\1/<>&',
        "pct": "100%%",
        "fl": 3000000.0,
        "neg": -2.0,
        "Upper": "%FILTER_STATE(fs)%",
    }

    def test_all(self) -> None:
        """Keys are sorted, values typed, and a newline is at the end."""
        assert compile_json(self.STRUCT)(relayed()) == (
            '{"Upper":"hello \\"w\\"","big":1e+20,"fl":3e+06,"flt":1.5,"lit":5,"mix":"a=0 b=- c=25","neg":-2,'
            '"nest":{"a":[25,"x",{"q":71},[]],"e":{},"z":null},"nul":null,"pct":"100%","t":true,'
            '"uni":"é\\"\\\\\\n\\t\\u0001/<>&","zero":0}\n'
        )

    def test_omitted(self) -> None:
        """What is null can be left out, and objects that are empty."""
        assert compile_json(self.STRUCT, omit_empty=True)(relayed()) == (
            '{"Upper":"hello \\"w\\"","big":1e+20,"fl":3e+06,"flt":1.5,"lit":5,"mix":"a=0 b= c=25","neg":-2,'
            '"nest":{"a":[25,"x",{"q":71},[]]},"pct":"100%","t":true,'
            '"uni":"é\\"\\\\\\n\\t\\u0001/<>&","zero":0}\n'
        )
        assert compile_json({"a": "%PROTOCOL%"}, omit_empty=True)(relayed()) == "{}\n"

    def test_empty(self) -> None:
        """Empty objects, lists and strings stay what they are."""
        assert compile_json({"a": "", "b": [], "c": {}})(relayed()) == '{"a":"","b":[],"c":{}}\n'
        assert compile_json({})(relayed()) == "{}\n"

    def test_wrong(self) -> None:
        """What is wrong is told with its place."""
        with pytest.raises(ConfigError) as raised:
            compile_json({"a": {"b": ["%NOPE%"]}})
        assert raised.value.path == ("a", "b", 0)

    @given(st.text())
    def test_any_name(self, name: str) -> None:
        """Whatever a connection has is valid JSON."""
        info = relayed()
        info.route_name = name
        line = compile_json({"n": "%ROUTE_NAME%", "m": "<%ROUTE_NAME%>"})(info)
        assert json.loads(line) == {"n": name or None, "m": f"<{name or '-'}>"}
