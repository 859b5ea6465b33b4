"""Tests for meshd.codec.dialogue.ntlm, beside RFC 1320 and what stunnel 5.68 sends."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.codec.dialogue.ntlm import NEGOTIATE, authenticate, md4, response
from meshd.codec.dialogue.script import Failed
from meshd.testing import check_rubbish

CHALLENGE = (
    b"TlRMTVNTUAACAAAADAAMADAAAAABAoEAASNFZ4mrze8AAAAAAAAAAGIAYgA8AAAARABPAE0AQQBJAE4AAgAMAEQATwBNAEEASQBOAAEA"
    b"DABTAEUAUgBWAEUAUgAEABQAZABvAG0AYQBpAG4ALgBjAG8AbQADACIAcwBlAHIAdgBlAHIALgBkAG8AbQBhAGkAbgAuAGMAbwBtAAAA"
    b"AAA="
)


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        (b"", "31d6cfe0d16ae931b73c59d7e0c089c0"),
        (b"abc", "a448017aaf21d8525fc10ae87aa6729d"),
        (b"1234567890" * 8, "e33b4ddc9c38f2199c3e7b164fcc0536"),
    ],
)
def test_md4(text: bytes, digest: str) -> None:
    """The digests are those of RFC 1320."""
    assert md4(text).hex() == digest


@given(st.binary(max_size=200))
def test_md4_size(text: bytes) -> None:
    """Any text has a digest of 16 bytes, across all lengths of padding."""
    assert len(md4(text)) == 16


def test_negotiate() -> None:
    """The first message is the one of stunnel."""
    assert NEGOTIATE == b"TlRMTVNTUAABAAAAAgIAAAAAAAAAAAAAAAAAAAAAAAA="


def test_response() -> None:
    """The response to the best known challenge is the best known one."""
    challenge = bytes.fromhex("0123456789abcdef")
    assert response("SecREt01", challenge).hex() == "25a98c1c31e81847466b29b2df4680f39958fb8c213a9cc6"


def test_authenticate() -> None:
    """The third message is, byte for byte, the one of stunnel."""
    assert authenticate(CHALLENGE, "DOMAIN", "user", "SecREt01") == (
        b"TlRMTVNTUAADAAAAAAAAAGIAAAAYABgAQAAAAAYABgBYAAAABAAEAF4AAAAAAAAAYgAAAAAAAABiAAAAAgIAACWpjBwx6BhHRmsp"
        b"st9GgPOZWPuMITqcxkRPTUFJTnVzZXI="
    )


@pytest.mark.parametrize("challenge", [b"?", b64encode(b"x" * 40), b64encode(b"NTLMSSP\0\x02\0\0\0")])
def test_bad_challenge(challenge: bytes) -> None:
    """What is no challenge fails the dialogue."""
    with pytest.raises(Failed):
        authenticate(challenge, "", "user", "x")


@given(st.binary(max_size=100))
def test_rubbish(data: bytes) -> None:
    """Rubbish is a challenge, or it fails."""
    for each in (data, b64encode(data), b64encode(b"NTLMSSP\0\x02\0\0\0" + data)):
        check_rubbish(lambda wire: authenticate(wire, "d", "u", "p"), each, Failed)
