"""Tests for meshd.observe.operators: values are those that Envoy 1.40 logged of the same connection."""

import os
import re
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.observe.format import compile_text
from meshd.observe.operators import compile_operator
from meshd.plugin import ConfigError
from tests.observe.connections import refused, relayed

#: Operators with their text, and their value where that is not the text.
RELAYED: list[tuple[str, str, Any]] = [
    ("START_TIME", "2026-11-23T06:34:10.128Z", "2026-11-23T06:34:10.128Z"),
    ("START_TIME(%s)", "1795415650", "1795415650"),
    ("START_TIME(%s.%3f)", "1795415650.128", "1795415650.128"),
    (
        "START_TIME(%3f|%f|%6f|%1f|%9f|%%)",
        "128|128160000|128160|1|128160000|%",
        "128|128160000|128160|1|128160000|%",
    ),
    ("BYTES_RECEIVED", "25", 25),
    ("BYTES_SENT", "25", 25),
    ("RESPONSE_CODE_DETAILS", "-", None),
    ("CONNECTION_TERMINATION_DETAILS", "-", None),
    ("RESPONSE_FLAGS", "-", "-"),
    ("RESPONSE_FLAGS_LONG", "-", "-"),
    ("UPSTREAM_WIRE_BYTES_SENT", "25", 25),
    ("UPSTREAM_WIRE_BYTES_RECEIVED", "25", 25),
    ("DOWNSTREAM_WIRE_BYTES_SENT", "25", 25),
    ("DOWNSTREAM_WIRE_BYTES_RECEIVED", "25", 25),
    ("DURATION", "71", 71),
    ("COMMON_DURATION(DS_RX_BEG:DS_TX_END:ms)", "-", None),
    ("COMMON_DURATION(DS_CX_BEG:DS_CX_END:us)", "71926", 71926),
    ("COMMON_DURATION(US_CX_BEG:US_CX_END:us)", "61", 61),
    ("COMMON_DURATION(DS_RX_BEG:US_CX_BEG:us)", "285", 285),
    ("COMMON_DURATION(DS_RX_BEG:US_RX_BEG:us)", "-", None),
    ("COMMON_DURATION(US_CX_END:DS_RX_BEG:us)", "-", None),
    ("COMMON_DURATION(DS_RX_BEG:DS_RX_END:us)", "-", None),
    ("COMMON_DURATION(DS_RX_BEG:DS_TX_BEG:us)", "-", None),
    ("COMMON_DURATION(DS_RX_BEG:DS_CX_END:us)", "71926", 71926),
    ("COMMON_DURATION(DS_RX_BEG:US_TX_END:us)", "-", None),
    ("COMMON_DURATION(DS_RX_BEG:US_RX_END:us)", "-", None),
    ("COMMON_DURATION(DS_RX_BEG:US_HS_END:us)", "-", None),
    ("COMMON_DURATION(foo:bar:us)", "-", None),
    ("UPSTREAM_CONNECTION_POOL_READY_DURATION", "0", 0),
    ("ROUTE_NAME", "-", None),
    ("UPSTREAM_CLUSTER", "c1:alt", "c1:alt"),
    ("UPSTREAM_CLUSTER_RAW", "c1", "c1"),
    ("UPSTREAM_HOST", "127.0.0.1:24903", "127.0.0.1:24903"),
    ("UPSTREAM_HOST_NAME", "host.name:9", "host.name:9"),
    ("UPSTREAM_HOST_NAME_WITHOUT_PORT", "host.name", "host.name"),
    ("UPSTREAM_HOSTS_ATTEMPTED", "127.0.0.1:24903", "127.0.0.1:24903"),
    ("UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT", "127.0.0.1", "127.0.0.1"),
    ("UPSTREAM_HOST_NAMES_ATTEMPTED", "host.name:9", "host.name:9"),
    ("UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT", "host.name", "host.name"),
    ("UPSTREAM_CONNECTION_IDS_ATTEMPTED", "1", "1"),
    ("UPSTREAM_REQUEST_ATTEMPT_COUNT", "1", 1),
    ("UPSTREAM_LOCAL_ADDRESS", "127.0.0.1:36562", "127.0.0.1:36562"),
    ("UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "127.0.0.1", "127.0.0.1"),
    ("UPSTREAM_LOCAL_PORT", "36562", 36562),
    ("UPSTREAM_REMOTE_ADDRESS", "127.0.0.1:24903", "127.0.0.1:24903"),
    ("UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "127.0.0.1", "127.0.0.1"),
    ("UPSTREAM_REMOTE_PORT", "24903", 24903),
    ("UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID", "", ""),
    ("UPSTREAM_TRANSPORT_FAILURE_REASON", "-", None),
    ("UPSTREAM_DETECTED_CLOSE_TYPE", "Normal", "Normal"),
    ("UPSTREAM_LOCAL_CLOSE_REASON", "-", None),
    ("UPSTREAM_CONNECTION_ID", "1", 1),
    ("DOWNSTREAM_REMOTE_ADDRESS", "127.0.0.1:59504", "127.0.0.1:59504"),
    ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "127.0.0.1", "127.0.0.1"),
    ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(16)", "127.0.0.0/16", "127.0.0.0/16"),
    ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(0)", "0.0.0.0/0", "0.0.0.0/0"),
    ("DOWNSTREAM_REMOTE_PORT", "59504", 59504),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "127.0.0.1:59504", "127.0.0.1:59504"),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", "127.0.0.1", "127.0.0.1"),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT(8)", "127.0.0.0/8", "127.0.0.0/8"),
    ("DOWNSTREAM_DIRECT_REMOTE_PORT", "59504", 59504),
    ("DOWNSTREAM_LOCAL_ADDRESS", "127.0.0.1:24902", "127.0.0.1:24902"),
    ("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "127.0.0.1", "127.0.0.1"),
    ("DOWNSTREAM_LOCAL_PORT", "24902", 24902),
    ("DOWNSTREAM_DIRECT_LOCAL_ADDRESS", "127.0.0.1:24902", "127.0.0.1:24902"),
    ("DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT", "127.0.0.1", "127.0.0.1"),
    ("DOWNSTREAM_DIRECT_LOCAL_PORT", "24902", 24902),
    ("DOWNSTREAM_TRANSPORT_FAILURE_REASON", "-", None),
    ("DOWNSTREAM_LOCAL_CLOSE_REASON", "-", None),
    ("DOWNSTREAM_DETECTED_CLOSE_TYPE", "Normal", "Normal"),
    ("CONNECTION_ID", "0", 0),
    ("REQUESTED_SERVER_NAME", "-", None),
    ("REQUESTED_SERVER_NAME(SNI_ONLY)", "-", None),
    ("REQUESTED_SERVER_NAME(HOST_FIRST:HOST)", "-", None),
    ("REQUESTED_SERVER_NAME(SNI_FIRST:ORIG)", "-", None),
    ("FILTER_CHAIN_NAME", "chainy", "chainy"),
    ("ACCESS_LOG_TYPE", "TcpConnectionEnd", "TcpConnectionEnd"),
    ("DYNAMIC_METADATA(a)", "-", None),
    ("DYNAMIC_METADATA(a:b)", "-", None),
    ("DYNAMIC_METADATA(a:b:c):3", "-", None),
    (
        "CLUSTER_METADATA(cm)",
        '{"b":true,"f":1.25,"l":["a",1,true,null,2.5],"n":3,"s":"string","st":{"a":1,"k":"vv"}}',
        {
            "b": True,
            "f": 1.25,
            "l": ["a", 1, True, None, 2.5],
            "n": 3,
            "s": "string",
            "st": {"a": 1, "k": "vv"},
        },
    ),
    ("CLUSTER_METADATA(cm:s)", "string", "string"),
    ("CLUSTER_METADATA(cm:l)", '["a",1,true,null,2.5]', ["a", 1, True, None, 2.5]),
    ("CLUSTER_METADATA(cm:n)", "3", 3),
    ("CLUSTER_METADATA(cm:f)", "1.25", 1.25),
    ("CLUSTER_METADATA(cm:b)", "true", True),
    ("CLUSTER_METADATA(cm:st)", '{"a":1,"k":"vv"}', {"a": 1, "k": "vv"}),
    ("CLUSTER_METADATA(cm:st:k)", "vv", "vv"),
    ("CLUSTER_METADATA(cm:zz)", "-", None),
    ("UPSTREAM_METADATA(um:s)", "UM", "UM"),
    ("UPSTREAM_METADATA(um)", '{"b":2,"s":"UM"}', {"b": 2, "s": "UM"}),
    ("METADATA(CLUSTER:cm:s)", "string", "string"),
    ("METADATA(UPSTREAM_HOST:um:s)", "UM", "UM"),
    ("METADATA(LISTENER:lm:s)", "LM", "LM"),
    ("METADATA(LISTENER_FILTER_CHAIN:fm:s)", "FM", "FM"),
    ("METADATA(DYNAMIC:a:b)", "-", None),
    ("METADATA(VIRTUAL_HOST:a:b)", "-", None),
    ("METADATA(ROUTE:a:b)", "-", None),
    ("FILTER_STATE(fs)", '"hello \\"w\\""', 'hello "w"'),
    ("FILTER_STATE(fs:PLAIN)", 'hello "w"', 'hello "w"'),
    ("FILTER_STATE(fs:TYPED)", '"hello \\"w\\""', 'hello "w"'),
    ("FILTER_STATE(fs:PLAIN):2", "he", "he"),
    ("FILTER_STATE(fs:FIELD:x)", "-", None),
    ("FILTER_STATE(no)", "-", None),
    ("UPSTREAM_FILTER_STATE(fs:PLAIN)", "-", None),
    ('COALESCE({"operators":["PROTOCOL","RESPONSE_CODE"]})', "0", 0),
    (
        'COALESCE({"operators":["PROTOCOL",{"command":"REQ","param":"X"},"UPSTREAM_HOST"],"z":1})',
        "127.0.0.1:24903",
        "127.0.0.1:24903",
    ),
]

#: Operators whose text is another if there is no upstream.
REFUSED = [
    ("RESPONSE_FLAGS", "NC"),
    ("RESPONSE_FLAGS_LONG", "NoClusterFound"),
    ("UPSTREAM_CLUSTER", "-"),
    ("UPSTREAM_CLUSTER_RAW", "-"),
    ("UPSTREAM_HOST", "-"),
    ("UPSTREAM_HOST_NAME", "-"),
    ("UPSTREAM_HOSTS_ATTEMPTED", "-"),
    ("UPSTREAM_HOST_NAMES_ATTEMPTED", "-"),
    ("UPSTREAM_CONNECTION_IDS_ATTEMPTED", "-"),
    ("UPSTREAM_REQUEST_ATTEMPT_COUNT", "0"),
    ("UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID", "-"),
    ("UPSTREAM_CONNECTION_ID", "0"),
    ("DOWNSTREAM_LOCAL_CLOSE_REASON", "tcp_initializion_failure:3"),
    ("CLUSTER_METADATA(cm)", "-"),
    ("CLUSTER_METADATA(cm:s)", "-"),
    ("CLUSTER_METADATA(cm:l)", "-"),
    ("CLUSTER_METADATA(cm:n)", "-"),
    ("CLUSTER_METADATA(cm:f)", "-"),
    ("CLUSTER_METADATA(cm:b)", "-"),
    ("CLUSTER_METADATA(cm:st)", "-"),
    ("CLUSTER_METADATA(cm:st:k)", "-"),
    ("UPSTREAM_METADATA(um:s)", "-"),
    ("UPSTREAM_METADATA(um)", "-"),
    ("METADATA(CLUSTER:cm:s)", "-"),
    ("METADATA(UPSTREAM_HOST:um:s)", "-"),
    ('COALESCE({"operators":["PROTOCOL",{"command":"REQ","param":"X"},"UPSTREAM_HOST"],"z":1})', "-"),
]


def text_of(operator: str, info: Any) -> str:
    return compile_text(f"%{operator}%")(info)


def value_of(operator: str, info: Any) -> Any:
    name, parameter, length = re.fullmatch(r"(\w+)(?:\((.*?)\))?(?::(\d+))?", operator).groups()  # type: ignore[union-attr]
    return compile_operator(name, parameter, int(length) if length else None).value(info)


class TestRelayed:
    """A connection that was relayed."""

    @pytest.mark.parametrize(("operator", "text", "value"), RELAYED)
    def test_text(self, operator: str, text: str, value: Any) -> None:
        """Each operator has Envoy's text."""
        assert text_of(operator, relayed()) == text

    @pytest.mark.parametrize(("operator", "text", "value"), RELAYED)
    def test_value(self, operator: str, text: str, value: Any) -> None:
        """Each operator has Envoy's value."""
        assert value_of(operator, relayed()) == value


class TestRefused:
    """A connection that had no cluster to go to."""

    @pytest.mark.parametrize(("operator", "text"), REFUSED)
    def test_text(self, operator: str, text: str) -> None:
        """Each operator has Envoy's text."""
        assert text_of(operator, refused()) == text


class TestOthers:
    """Operators whose values are not the same each time, or each place."""

    def test_now(self) -> None:
        """EMIT_TIME is the time of the logging."""
        assert re.fullmatch(r"2\d{3}-\d\d-\d\dT[\d:]{8}\.\d{3}Z", text_of("EMIT_TIME", relayed()))
        assert re.search(r"[+-]\d{4}$", text_of("EMIT_TIME_LOCAL", relayed()))
        assert re.search(r"[+-]\d{4}$", text_of("START_TIME_LOCAL", relayed()))

    def test_unique(self) -> None:
        """UNIQUE_ID is another each time, STREAM_ID stays with the connection."""
        info = relayed()
        assert text_of("UNIQUE_ID", info) != text_of("UNIQUE_ID", info)
        assert text_of("STREAM_ID", info) == text_of("STREAM_ID", info) != text_of("STREAM_ID", relayed())

    def test_place(self) -> None:
        """The name of the host and the environment are the machine's."""
        assert text_of("HOSTNAME", relayed()) == socket.gethostname()
        assert text_of("ENVIRONMENT(PATH)", relayed()) == os.environ["PATH"]
        assert text_of("ENVIRONMENT(PATH):3", relayed()) == os.environ["PATH"][:3]
        assert value_of("ENVIRONMENT(MESHD_NOT_SET)", relayed()) == "-"

    def test_while_open(self) -> None:
        """Of a connection that is not over, its duration so far is known, and its end is not."""
        info = relayed()
        info.end = None
        assert int(text_of("DURATION", info)) >= 0
        assert text_of("COMMON_DURATION(DS_CX_BEG:DS_CX_END:ms)", info) == "-"

    def test_no_connection(self) -> None:
        """Of a host that could not be connected to, the host is known, and how long it took."""
        info = relayed()
        info.upstream.connected = info.upstream.remote = info.upstream.local = None
        assert text_of("UPSTREAM_HOST", info) == "127.0.0.1:24903"
        assert text_of("UPSTREAM_REMOTE_ADDRESS", info) == "-"
        assert text_of("UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID", info) == "-"
        assert text_of("UPSTREAM_CONNECTION_POOL_READY_DURATION", info) == "71"
        assert text_of("COMMON_DURATION(DS_CX_BEG:US_CX_BEG:us)", info) == "-"

    def test_unnamed_host(self) -> None:
        """A host without a name is called by its address."""
        info = relayed()
        info.upstream.host.__class__.hostname = ""
        try:
            assert text_of("UPSTREAM_HOST_NAME", info) == "127.0.0.1:24903"
            assert text_of("UPSTREAM_HOST_NAME_WITHOUT_PORT", info) == "127.0.0.1"
        finally:
            info.upstream.host.__class__.hostname = "host.name:9"

    def test_metadata(self) -> None:
        """Dynamic metadata is found by its path; texts can be cut."""
        info = relayed()
        info.metadata["envoy.x"] = {"k": {"n": 7, "t": "long text"}}
        assert text_of("DYNAMIC_METADATA(envoy.x:k:t):4", info) == "long"
        assert text_of("DYNAMIC_METADATA(envoy.x:k)", info) == '{"n":7,"t":"long text"}'
        assert value_of("METADATA(DYNAMIC:envoy.x:k:n)", info) == 7

    def test_details(self) -> None:
        """Details have no spaces, unless they are wanted."""
        info = relayed()
        info.response_code_details = "a b"
        assert text_of("RESPONSE_CODE_DETAILS", info) == "a_b"
        assert text_of("RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)", info) == "a b"

    def test_reasons(self) -> None:
        """Reasons of failure have no spaces."""
        info = relayed()
        info.upstream.transport_failure_reason = "delayed_connect_error: Connection refused"
        info.termination_details = "rbac: denied"
        found = text_of("UPSTREAM_TRANSPORT_FAILURE_REASON", info)
        assert found == "delayed_connect_error:_Connection_refused"
        assert text_of("CONNECTION_TERMINATION_DETAILS", info) == "rbac: denied"

    def test_server_name(self) -> None:
        """The SNI is the server's name."""
        info = relayed()
        info.server_name = "a.example"
        assert text_of("REQUESTED_SERVER_NAME(SNI_FIRST:HOST)", info) == "a.example"

    @pytest.mark.parametrize(
        ("name", "logged"),
        [
            ("a_b-c.example", "a_b-c.example"),
            ("*.example", "invalid:_.example"),
            ('a\nb "', "invalid:a_b__"),
            ("\u00c4.x", "invalid:__.x"),
            ("\udcff:1", "invalid:__1"),
        ],
    )
    def test_no_host_name(self, name: str, logged: str) -> None:
        """An SNI that is no host name is marked, and cannot break a line of the log."""
        info = relayed()
        info.server_name = name
        assert text_of("REQUESTED_SERVER_NAME", info) == logged


class TestErrors:
    """Operators that are refused, in Envoy's words."""

    @pytest.mark.parametrize(
        ("operator", "words"),
        [
            ("FOO_BAR", "Not supported field in StreamInfo: FOO_BAR"),
            ("DURATIONS", "Not supported field in StreamInfo: DURATIONS; did you mean DURATION?"),
            ("BYTES_SENT(x)", "BYTES_SENT does not take any parameters or length"),
            ("BYTES_SENT:3", "BYTES_SENT does not take any parameters or length"),
            ("START_TIME:3", "START_TIME does not allow length to be specified."),
            ("CLUSTER_METADATA(x):3", "CLUSTER_METADATA does not allow length to be specified."),
            ("DYNAMIC_METADATA", "DYNAMIC_METADATA requires parameters"),
            ("ENVIRONMENT()", "ENVIRONMENT requires parameters"),
            ("FILTER_STATE", "Invalid filter state configuration, key cannot be empty."),
            ("COMMON_DURATION(a)", "Invalid common duration configuration: a."),
            ("COMMON_DURATION(a:b:s)", "Invalid common duration precision: s."),
            ("METADATA(x:y)", "x is not supported type of metadata"),
            (
                "REQUESTED_SERVER_NAME(x)",
                "Invalid REQUESTED_SERVER_NAME option: 'x', "
                "only 'SNI_ONLY'/'SNI_FIRST'/'HOST_FIRST' are allowed",
            ),
            (
                "REQUESTED_SERVER_NAME(SNI_ONLY:X)",
                "Invalid REQUESTED_SERVER_NAME option: 'X', only 'ORIG_OR_HOST'/'HOST'/'ORIG' are allowed",
            ),
            ("START_TIME(%n)", "Invalid header configuration. Format string contains newline."),
            ('COALESCE({"operators":[]})', "COALESCE: 'operators' array must not be empty"),
            ('COALESCE({"operators":3})', "COALESCE: 'operators' must be an array"),
            (
                'COALESCE({"operators":[3]})',
                "COALESCE: each operator is a string, or an object with a 'command'",
            ),
            (
                'COALESCE({"operators":[{"command":"REQ","param":3}]})',
                "COALESCE: 'param' is a string, and 'max_length' a number",
            ),
            ('COALESCE({"operators":["NOPE"]})', "Not supported field in StreamInfo: NOPE"),
        ],
    )
    def test_words(self, operator: str, words: str) -> None:
        """Each says what is wrong."""
        with pytest.raises(ConfigError, match=re.escape(words)):
            compile_text(f"%{operator}%")

    @given(st.text(), st.none() | st.integers(0, 10))
    def test_coalesce(self, parameter: str, length: int | None) -> None:
        """Rubbish where JSON should be is a ConfigError."""
        with pytest.raises(ConfigError):
            compile_operator("COALESCE", parameter, length)
