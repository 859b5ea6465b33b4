"""Tests for meshd.codec.dialogue.ldap; the requests are those of stunnel 5.68, recorded."""

from __future__ import annotations

import pytest

from meshd.codec.dialogue import ldap
from meshd.codec.dialogue.script import SERVER, Outcome
from tests.codec.dialogue.talking import talk

OID = b"1.3.6.1.4.1.1466.20037".hex()


@pytest.mark.parametrize(
    "response",
    [
        "300c02010178070a010004000400",
        "3024020101781f0a0100040004008a16" + OID,
        "3084000000280201017884000000" + "1f0a0100040004008a16" + OID,
    ],
)
def test_tls(response: str) -> None:
    """A response of success begins TLS, however long its lengths are."""
    made = talk(ldap.client(), (SERVER, bytes.fromhex(response) + b"\x16\x03"))
    assert made.heard[SERVER] == b"0\x1d\x02\x01\x01w\x18\x80\x161.3.6.1.4.1.1466.20037"
    assert made.end is Outcome.START_TLS
    assert made.rest()[1] == b"\x16\x03"


@pytest.mark.parametrize(
    ("response", "why"),
    [
        ("300c02010178070a013404000400", "the LDAP server refuses TLS: error 52"),
        ("300c02010278070a010004000400", "the LDAP response is to another message"),
        ("300c02010161070a010004000400", "the LDAP response is no extended response"),
        ("300c0201017807040100" + "04000400", "the LDAP response has no result code"),
        ("485454502f312e30", "the LDAP response is no sequence"),
        ("3003020101", "the LDAP response is cut off"),
        ("30050201017809", "the LDAP response is cut off"),
        ("3083ffffff", "the LDAP response is too long"),
        ("30ff" + "ff" * 127, "the LDAP response is too long"),
        ("3080", "the LDAP response is cut off"),
    ],
)
def test_no_tls(response: str, why: str) -> None:
    """Any other response fails the dialogue."""
    failed = talk(ldap.client(), (SERVER, bytes.fromhex(response))).failed
    assert failed is not None
    assert (failed.text, failed.reset) == (why, True)
