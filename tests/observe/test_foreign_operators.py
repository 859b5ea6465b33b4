"""Tests for meshd.observe.foreign_operators: values are those that Envoy 1.40 logged for TCP."""

from typing import Any

import pytest

from meshd.observe.format import compile_text
from meshd.plugin import ConfigError
from tests.observe.connections import relayed

#: Operators with their text.
TCP = [
    ("REQUEST_HEADERS_BYTES", "0"),
    ("RESPONSE_HEADERS_BYTES", "0"),
    ("RESPONSE_TRAILERS_BYTES", "0"),
    ("BYTES_RETRANSMITTED", "0"),
    ("PACKETS_RETRANSMITTED", "0"),
    ("PROTOCOL", "-"),
    ("UPSTREAM_PROTOCOL", "-"),
    ("RESPONSE_CODE", "0"),
    ("UPSTREAM_HEADER_BYTES_SENT", "0"),
    ("UPSTREAM_HEADER_BYTES_RECEIVED", "0"),
    ("DOWNSTREAM_HEADER_BYTES_SENT", "0"),
    ("DOWNSTREAM_HEADER_BYTES_RECEIVED", "0"),
    ("UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT", "0"),
    ("UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED", "0"),
    ("DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT", "0"),
    ("DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED", "0"),
    ("REQUEST_DURATION", "-"),
    ("REQUEST_TX_DURATION", "-"),
    ("RESPONSE_DURATION", "-"),
    ("RESPONSE_TX_DURATION", "-"),
    ("ROUNDTRIP_DURATION", "-"),
    ("DOWNSTREAM_HANDSHAKE_DURATION", "-"),
    ("VIRTUAL_CLUSTER_NAME", "-"),
    ("UPSTREAM_SERVER_NAME", "-"),
    ("UPSTREAM_PEER_URI_SAN", "-"),
    ("UPSTREAM_PEER_DNS_SAN", "-"),
    ("UPSTREAM_PEER_IP_SAN", "-"),
    ("UPSTREAM_PEER_SUBJECT", "-"),
    ("UPSTREAM_PEER_ISSUER", "-"),
    ("UPSTREAM_PEER_CERT", "-"),
    ("UPSTREAM_TLS_SESSION_ID", "-"),
    ("UPSTREAM_TLS_CIPHER", "-"),
    ("UPSTREAM_TLS_VERSION", "-"),
    ("DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID", ""),
    ("DOWNSTREAM_LOCAL_URI_SAN", "-"),
    ("DOWNSTREAM_PEER_URI_SAN", "-"),
    ("DOWNSTREAM_LOCAL_DNS_SAN", "-"),
    ("DOWNSTREAM_PEER_DNS_SAN", "-"),
    ("DOWNSTREAM_LOCAL_IP_SAN", "-"),
    ("DOWNSTREAM_PEER_IP_SAN", "-"),
    ("DOWNSTREAM_LOCAL_EMAIL_SAN", "-"),
    ("DOWNSTREAM_PEER_EMAIL_SAN", "-"),
    ("DOWNSTREAM_LOCAL_OTHERNAME_SAN", "-"),
    ("DOWNSTREAM_PEER_OTHERNAME_SAN", "-"),
    ("DOWNSTREAM_LOCAL_SUBJECT", "-"),
    ("DOWNSTREAM_PEER_SUBJECT", "-"),
    ("DOWNSTREAM_PEER_ISSUER", "-"),
    ("DOWNSTREAM_PEER_SERIAL", "-"),
    ("DOWNSTREAM_PEER_CERT", "-"),
    ("DOWNSTREAM_PEER_CERT_V_START", "-"),
    ("DOWNSTREAM_PEER_CERT_V_START(%Y)", "-"),
    ("DOWNSTREAM_PEER_CERT_V_END", "-"),
    ("DOWNSTREAM_PEER_FINGERPRINT_256", "-"),
    ("DOWNSTREAM_PEER_FINGERPRINT_1", "-"),
    ("DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256", "-"),
    ("DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1", "-"),
    ("DOWNSTREAM_PEER_CHAIN_SERIALS", "-"),
    ("DOWNSTREAM_TLS_SESSION_ID", "-"),
    ("DOWNSTREAM_TLS_CIPHER", "-"),
    ("DOWNSTREAM_TLS_VERSION", "-"),
    ("TLS_JA3_FINGERPRINT", "-"),
    ("TLS_JA4_FINGERPRINT", "-"),
    ("LOCAL_REPLY_BODY", ""),
    ("TRACE_ID", "-"),
    ("SPAN_ID", "-"),
    ("PATH(NQ)", "-"),
    ("QUERY_PARAM(x)", "-"),
    ("QUERY_PARAMS", "-"),
    ("QUERY_PARAMS(ORIG)", "-"),
    ("CUSTOM_FLAGS", ""),
    ("GRPC_STATUS", "-"),
    ("GRPC_STATUS(NUMBER)", "-"),
    ("GRPC_STATUS_NUMBER", "-"),
    ("REQ(X)", "-"),
    ("REQ(X?Y):3", "-"),
    ("REQUEST_HEADER(X)", "-"),
    ("RESP(X)", "-"),
    ("RESPONSE_HEADER(X)", "-"),
    ("TRAILER(X)", "-"),
    ("RESPONSE_TRAILER(X)", "-"),
]


def text_of(operator: str, info: Any) -> str:
    return compile_text(f"%{operator}%")(info)


class TestPlain:
    """A TCP connection without TLS."""

    @pytest.mark.parametrize(("operator", "text"), TCP)
    def test_text(self, operator: str, text: str) -> None:
        """Each operator is accepted, and has Envoy's text."""
        assert text_of(operator, relayed()) == text


class TestErrors:
    """Operators that are refused, in Envoy's words."""

    @pytest.mark.parametrize(
        ("operator", "words"),
        [
            ("REQ", "REQ requires parameters"),
            ("REQ(a?b?c)", "More than 1 alternative header specified in token: a[?]b[?]c"),
            (
                "GRPC_STATUS(x)",
                "GrpcStatusFormatter only supports CAMEL_STRING, SNAKE_STRING or NUMBER. Got: x",
            ),
            ("PATH(x)", "Invalid PATH option: 'x', only 'WQ'/'NQ' are allowed"),
            ("QUERY_PARAMS(x)", "Invalid QUERY_PARAMS option: 'x', only 'ORIG'/'DECODED' are allowed"),
            ("PROTOCOL(x)", "PROTOCOL does not take any parameters or length"),
        ],
    )
    def test_words(self, operator: str, words: str) -> None:
        """Each says what is wrong."""
        with pytest.raises(ConfigError, match=words):
            compile_text(f"%{operator}%")
