"""
Operators whose values a plain TCP connection does not have.

Those that mean something for HTTP only are constants, as Envoy has them for
TCP, but their parameters are checked.
"""

from __future__ import annotations

from meshd.observe.operator import (
    ALONE,
    FREE,
    NEEDED,
    OPTIONAL,
    Maker,
    Operator,
    Table,
    constant,
)
from meshd.plugin import ConfigError

FOREIGN: Table = {}


# What is not there, or always the same, without HTTP.

for _name in (
    *("PROTOCOL", "UPSTREAM_PROTOCOL", "VIRTUAL_CLUSTER_NAME", "TRACE_ID", "SPAN_ID", "GRPC_STATUS_NUMBER"),
    *("REQUEST_DURATION", "REQUEST_TX_DURATION", "RESPONSE_DURATION", "RESPONSE_TX_DURATION"),
    *("ROUNDTRIP_DURATION",),
):
    FOREIGN[_name] = (ALONE, lambda parameter, length: constant(None))
for _name in (
    *("REQUEST_HEADERS_BYTES", "RESPONSE_HEADERS_BYTES", "RESPONSE_TRAILERS_BYTES", "RESPONSE_CODE"),
    *("BYTES_RETRANSMITTED", "PACKETS_RETRANSMITTED"),
    *(
        f"{side}STREAM_{form}HEADER_BYTES_{way}"
        for side in ("UP", "DOWN")
        for form in ("", "DECOMPRESSED_")
        for way in ("SENT", "RECEIVED")
    ),
):
    FOREIGN[_name] = (ALONE, lambda parameter, length: constant(0))
for _name in ("LOCAL_REPLY_BODY", "CUSTOM_FLAGS", "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID"):
    FOREIGN[_name] = (ALONE, lambda parameter, length: constant(""))


def _header(parameter: str, length: int | None) -> Operator:
    if parameter.count("?") > 1:
        raise ConfigError(f"More than 1 alternative header specified in token: {parameter}")
    return constant(None)


for _name in ("REQ", "RESP", "TRAILER", "REQUEST_HEADER", "RESPONSE_HEADER", "RESPONSE_TRAILER"):
    FOREIGN[_name] = (NEEDED, _header)


def _choice(name: str, *choices: str) -> Maker:
    """Return what checks the parts of a parameter of an operator that has no value for TCP."""

    def make(parameter: str, length: int | None) -> Operator:
        if parameter and parameter not in choices:
            allowed = "/".join(f"'{choice}'" for choice in choices)
            raise ConfigError(f"Invalid {name} option: '{parameter}', only {allowed} are allowed")
        return constant(None)

    return make


def _grpc_status(parameter: str, length: int | None) -> Operator:
    if parameter not in ("", "CAMEL_STRING", "SNAKE_STRING", "NUMBER"):
        raise ConfigError(
            f"GrpcStatusFormatter only supports CAMEL_STRING, SNAKE_STRING or NUMBER. Got: {parameter}"
        )
    return constant(None)


FOREIGN["GRPC_STATUS"] = (OPTIONAL, _grpc_status)
FOREIGN["QUERY_PARAM"] = (NEEDED, lambda parameter, length: constant(None))
FOREIGN["QUERY_PARAMS"] = (FREE, _choice("QUERY_PARAMS", "ORIG", "DECODED"))
FOREIGN["PATH"] = (FREE, _choice("PATH", "WQ", "NQ"))
