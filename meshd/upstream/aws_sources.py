"""
Where AWS credentials are found on this machine: in the config, the environment, the shared files.

The names of variables and files are those of AWS's own tools
(https://docs.aws.amazon.com/sdkref/latest/guide/creds-config-files.html).
"""

from __future__ import annotations

import configparser
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from meshd.codec.sigv4 import Credentials

Environ = Mapping[str, str]

#: Seconds after which a file is read again.
FILE_HOLDS = 60.0


class NoCredentials(Exception):
    """A source should have had credentials, and had none."""


class Source(Protocol):
    """Somewhere that credentials may be."""

    #: For how many seconds credentials hold that do not say so themselves; None: for good.
    holds: float | None

    async def fetch(self) -> Credentials | None:
        """Return credentials, None if there are none here; NoCredentials, or anything else, says why not."""


class Fixed:
    """Credentials that the config has."""

    holds: float | None = None

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def fetch(self) -> Credentials | None:
        """Return them."""
        return self._credentials


class Environment:
    """Credentials in environment variables."""

    holds: float | None = None

    def __init__(self, environ: Environ) -> None:
        self._environ = environ

    async def fetch(self) -> Credentials | None:
        """Return them."""
        get = self._environ.get
        return _credentials(get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY"), get("AWS_SESSION_TOKEN"))


class SharedFile:
    """
    A profile of a credentials file.

    read returns its text, and may raise OSError.
    """

    holds: float | None = FILE_HOLDS

    def __init__(self, read: Callable[[], str], profile: str) -> None:
        self._read = read
        self._profile = profile

    async def fetch(self) -> Credentials | None:
        """Return them as the file has them now."""
        try:
            text = self._read()
        except FileNotFoundError:
            return None
        values = profile_values(text, self._profile)
        return _credentials(
            values.get("aws_access_key_id"),
            values.get("aws_secret_access_key"),
            values.get("aws_session_token"),
        )


def _credentials(key: str | None, secret: str | None, token: str | None) -> Credentials | None:
    return Credentials(key, secret, token or "") if key and secret else None


def profile_values(text: str, profile: str, prefix: str = "") -> dict[str, str]:
    """Return what a profile has; prefix is what comes before names other than default in ~/.aws/config."""
    parser = configparser.RawConfigParser(strict=False, default_section="", inline_comment_prefixes=("#",))
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise NoCredentials(str(error).splitlines()[0]) from None
    for name in (prefix + profile,) if profile != "default" else ("default", f"{prefix}default"):
        if parser.has_section(name):
            return dict(parser.items(name))
    return {}


def profile_name(environ: Environ) -> str:
    """Return the profile that is wanted where none is named."""
    return environ.get("AWS_PROFILE") or "default"


def credentials_path(environ: Environ) -> Path:
    """Return where the shared credentials are."""
    named = environ.get("AWS_SHARED_CREDENTIALS_FILE")
    return Path(named) if named else home(environ) / ".aws" / "credentials"


def home(environ: Environ) -> Path:
    """Return the home directory; that of nobody is /."""
    return Path(environ.get("HOME") or "/")


def find_region(environ: Environ, profile: str = "") -> str:
    """Return the region that the environment, or a shared file, says; empty if none does."""
    named = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if named:
        return named
    profile = profile or profile_name(environ)
    config = Path(environ.get("AWS_CONFIG_FILE") or home(environ) / ".aws" / "config")
    for path, prefix in ((credentials_path(environ), ""), (config, "profile ")):
        try:
            region = profile_values(path.read_text(), profile, prefix).get("region")
        except (OSError, UnicodeDecodeError, NoCredentials):
            continue
        if region:
            return region
    return ""


def read_secret(path: str) -> str:
    """Return what a file has, without blanks around it; raise NoCredentials."""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NoCredentials(f"cannot read {path}: {error}") from None
