"""What a stunnel.conf may say, against Debian's stunnel4: each text is shown to both."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from meshd.stunnel.reading import Reader
from meshd.stunnel.syntax import Failure
from tests.interop.stunnels import FOREGROUND, check, command, complaints

CLIENT = FOREGROUND + "[s]\nclient = yes\naccept = 127.0.0.1:0\nconnect = 1\n"

#: Files that are refused, by what is behind the beginning of CLIENT.
REFUSED = (
    *("foo = bar", "accept 127", "[x", "client = maybe", "debug = 9", "debug = foo.5", "debug = daemon.x"),
    *("foreground = yes", "syslog = no", "output = /x", "pid = /x", "fips = yes", "engine = auto"),
    *("TIMEOUTidle = x", "TIMEOUTclose =", "TIMEOUTconnect = 1x", "TIMEOUTbusy = a"),
    *(
        "securityLevel = 6",
        "securityLevel = -1",
        "stack = x",
        "sslVersionMin = TLSv1.2\nsslVersionMax = TLSv1.1",
    ),
    *("setuid = nosuchuser", "setgid = nosuchgroup", "OCSPflag = x", "sessionCacheSize = x"),
    *(
        "sessionCacheTimeout = x",
        "session = x",
        "failover = x",
        "logId = x",
        "transparent = x",
        "redirect = 1",
    ),
    *("ticketKeySecret = aa", "ticketKeySecret = xx", "ticketMacSecret = aabb", "PSKsecrets = /nonexistent"),
    *("reset = x", "delay = x", "engineId = x", "engineNum = 1", "exec = /bin/true", "sslVersion = SSLv2"),
    *("sslVersion = foo", "options = foo", "options = 0x10", "socket = x:SO_KEEPALIVE=1", "retry = x"),
    *(
        "socket = a:foo=1",
        "socket = l:SO_KEEPALIVE",
        "verify = 7",
        "verify = x",
        "verify = 2",
        "verifyChain = yes",
    ),
    *(
        "verifyPeer = yes",
        "checkHost = foo",
        "checkIP = x",
        "checkEmail = a@b",
        "protocol = foo",
        "protocol = proxy",
    ),
    *(
        "client = no",
        "client = no\nsni = a\ncert = x",
        "client = no\nprotocol = nntp",
        "client = no\nprotocol = ldap",
    ),
    *("PSKsecrets = short", "PSKsecrets = nocolon", "PSKsecrets = good\nPSKidentity = other"),
    *(
        "[t]\nclient = yes\naccept = 127.0.0.1:0\n",
        "[t]\nclient = yes\nconnect = 1\n",
        "include = /nonexistent",
    ),
    *("accept = 127.0.0.1:nosuchservice\nfoo = bar", "include = parts", "local = nosuch.invalid"),
)

#: Files that are refused, from the first line on.
WHOLE = (
    "foo = bar\n",
    "debug = 99\n[s]\n",
    "foreground = x\n",
    "log = x\n",
    "output = relative\n",
    "pid = relative\n",
    "compression = x\n",
    "RNDbytes = x\n",
    "accept = 1\n",
    "",
    "; nothing but a comment\n# and another\n",
    "client = yes\n",
    "client = yes\naccept = 1\nconnect = 1\n",
    "client = yes\nexec = /bin/true\nconnect = 1\n",
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with files that the configurations name."""
    (tmp_path / "short").write_text("me:short\n")
    (tmp_path / "nocolon").write_text("nothing\n")
    (tmp_path / "good").write_text("me:00112233445566778899aabbccddeeff\n")
    for path in ("short", "nocolon", "good"):
        (tmp_path / path).chmod(0o600)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "1.conf").write_text("foo = bar\n")
    return tmp_path


def said_by_meshd(text: str, path: Path) -> list[str]:
    """Return what meshd-stunnel says of a file, up to where it needs no TLS context."""
    lines = []

    def say(level: int, line: str) -> None:
        lines.append(f"[{'***!:.  '[level]}] {line}")

    try:
        Reader(say).configuration(text.encode(), str(path))
    except Failure as failure:
        for line in (*failure.before, failure.text, "Configuration failed"):
            say(3, line)
    return complaints(lines)


@pytest.mark.parametrize("text", [*(CLIENT + each + "\n" for each in REFUSED), *WHOLE])
def test_refused(text: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is refused in the same words."""
    monkeypatch.chdir(directory)
    status, theirs = check("stunnel4", text, directory)
    assert status == 1
    assert said_by_meshd(text, directory / "bad.conf") == theirs


@pytest.mark.parametrize(
    "text",
    [CLIENT + "cert = /nonexistent\n", CLIENT + "foo = bar\n", FOREGROUND + "[s]\naccept = 1\nconnect = 2\n"],
)
def test_command(text: str, directory: Path) -> None:
    """The command prints the same and ends with the same status."""
    said = {kind: check(kind, text, directory) for kind in ("stunnel4", "meshd")}
    assert said["meshd"][0] == said["stunnel4"][0] == 1
    # What is wrong with a file of certificates, OpenSSL says in its own words.
    assert said["meshd"][1][-2:] == said["stunnel4"][1][-2:]


@pytest.mark.parametrize("arguments", [["/nonexistent"], ["-fd"], ["-fd", "x"], ["-fd", "77"], ["-foo"]])
def test_arguments(arguments: list[str]) -> None:
    """Wrong arguments are told in the same words, and end with status 1."""
    said = {}
    for kind in ("stunnel4", "meshd"):
        done = subprocess.run(
            [*command(kind), *arguments], capture_output=True, text=True, timeout=20, check=False
        )
        assert done.returncode == 1
        said[kind] = complaints(done.stderr.splitlines())
    assert said["meshd"] == said["stunnel4"]


@pytest.mark.parametrize("argument", ["-version", "-help", "-sockets", "-options"])
def test_information(argument: str) -> None:
    """What is asked for goes to stderr, with the version first, and the status is 0."""
    for kind in ("stunnel4", "meshd"):
        done = subprocess.run(
            [*command(kind), argument], capture_output=True, text=True, timeout=20, check=False
        )
        assert (done.returncode, done.stdout) == (0, "")
        assert any(line.startswith("stunnel 5.") for line in done.stderr.splitlines())


@pytest.mark.parametrize("argument", ["-sockets", "-options"])
def test_tables(argument: str) -> None:
    """The tables of socket options and of TLS options have the same rows."""
    tables = []
    for kind in ("stunnel4", "meshd"):
        done = subprocess.run(
            [*command(kind), argument], capture_output=True, text=True, timeout=20, check=False
        )
        rows = [line for line in done.stderr.splitlines() if line.startswith(("    ", "options = "))]
        tables.append([line.rpartition("|")[0] or line for line in rows])
    assert tables[0] == tables[1]
