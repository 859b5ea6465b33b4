"""Tests for meshd.stunnel.psk."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshd.stunnel.psk import BadSecrets, read_secrets


class TestSecrets:
    """Files of pre-shared keys."""

    def read(self, tmp_path: Path, text: str, mode: int = 0o600) -> tuple[dict[str, bytes], list[str]]:
        """Return the secrets, and what was said."""
        path = tmp_path / "psk"
        path.write_text(text)
        path.chmod(mode)
        said: list[str] = []
        return read_secrets(str(path), lambda level, line: said.append(line)), said

    def test_keys(self, tmp_path: Path) -> None:
        """Keys are hexadecimal if they can be, text if not."""
        secrets, said = self.read(tmp_path, "a:" + "0a" * 16 + "\n\nb:this is some text\n")
        assert secrets == {"a": b"\n" * 16, "b": b"this is some text"}
        assert said[-1] == "PSK identities: 2 retrieved"

    def test_insecure(self, tmp_path: Path) -> None:
        """A file that all may read is warned of."""
        assert "Insecure file permissions on" in self.read(tmp_path, "", 0o644)[1][0]

    @pytest.mark.parametrize(
        ("line", "why"),
        [
            ("no colon", "Not in identity:key format"),
            ("a:short", "Key shorter than 16 bytes"),
            ("a:" + "x" * 513, "Key longer than 512 bytes"),
            ("x" * 257 + ":" + "y" * 20, "Identity longer than 256 characters"),
        ],
    )
    def test_bad(self, tmp_path: Path, line: str, why: str) -> None:
        """What is wrong is told with the line's number."""
        with pytest.raises(BadSecrets, match=f"PSKsecrets line 2: {why}"):
            self.read(tmp_path, "\n" + line)

    def test_missing(self) -> None:
        """A file that is not there is told."""
        with pytest.raises(BadSecrets, match="No such file"):
            read_secrets("/nonexistent", lambda level, line: None)
