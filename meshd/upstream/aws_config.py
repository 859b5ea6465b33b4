"""
What the config says of AWS credentials.

Serves envoy.extensions.common.aws.v3.AwsCredentialProvider, but for
iam_roles_anywhere_credential_provider and config_credential_provider.  Without one the chain is
Envoy's default one: the environment, the shared credentials file, a web identity, the
container, the machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from meshd.codec.sigv4 import Credentials
from meshd.config.plain import data_source, seconds
from meshd.plugin import ConfigError
from meshd.upstream.aws_chain import Chain
from meshd.upstream.aws_metadata import AssumedRole, Container, Instance, Web, WebIdentity, sts_url
from meshd.upstream.aws_sources import (
    Environment,
    Fixed,
    NoCredentials,
    SharedFile,
    Source,
    credentials_path,
    profile_name,
    read_secret,
)

#: The parts of the default chain.
DEFAULT = (
    "environment_credential_provider",
    "credentials_file_provider",
    "assume_role_with_web_identity_provider",
    "container_credential_provider",
    "instance_profile_credential_provider",
)


class AwsReader:
    """Reads chains of sources for one region; environ and web are what the sources use."""

    def __init__(
        self, region: str, clock: IReactorTime, web: Web, environ: Mapping[str, str] = os.environ
    ) -> None:
        self.region = region
        self.clock = clock
        self.web = web
        self.environ = environ

    def chain(self, message: Any | None) -> Chain:
        """Return the chain of an AwsCredentialProvider message, or the default one; raise ConfigError."""
        return Chain(self._sources(message), self.clock)

    def _sources(self, message: Any | None) -> list[Source]:
        if message is not None and message.HasField("inline_credential"):
            inline = message.inline_credential
            return [Fixed(Credentials(inline.access_key_id, inline.secret_access_key, inline.session_token))]
        custom = message is not None and message.custom_credential_provider_chain
        assumed = message is not None and message.HasField("assume_role_credential_provider")
        if assumed and not custom:
            raise ConfigError(
                "is for a chain of its own: set custom_credential_provider_chain",
                "assume_role_credential_provider",
            )
        found: list[Source] = []
        for name, make in self._makers.items():
            given = message is not None and message.HasField(name)
            if given or (not custom and name in DEFAULT):
                try:
                    found += make(self, getattr(message, name) if given else None)
                except ConfigError as error:
                    raise error.under(name) from None
        if not found:
            raise ConfigError("Custom credential provider chain must have at least one credential provider")
        return found

    def _environment(self, message: Any) -> list[Source]:
        return [Environment(self.environ)]

    def _file(self, message: Any) -> list[Source]:
        profile = (message.profile if message is not None else "") or profile_name(self.environ)
        if message is not None and message.HasField("credentials_data_source"):
            return [SharedFile(partial(_text, message.credentials_data_source, self.environ), profile)]
        return [SharedFile(credentials_path(self.environ).read_text, profile)]

    def _web_identity(self, message: Any) -> list[Source]:
        get = self.environ.get
        role = (message.role_arn if message is not None else "") or get("AWS_ROLE_ARN", "")
        session = message.role_session_name if message is not None else ""
        token: Callable[[], str] | None = None
        path = get("AWS_WEB_IDENTITY_TOKEN_FILE")
        if message is not None and message.HasField("web_identity_token_data_source"):
            token = partial(_text, message.web_identity_token_data_source, self.environ)
        elif path:
            token = partial(read_secret, path)
        if token is None or not role:
            return []
        session = session or _session(self.environ)
        return [WebIdentity(self.web, sts_url(self.region, self.environ), role, session, token)]

    def _container(self, message: Any) -> list[Source]:
        return [Container(self.web, self.environ)]

    def _instance(self, message: Any) -> list[Source]:
        return [Instance(self.web, self.environ)]

    def _assumed(self, message: Any) -> list[Source]:
        inner = message.credential_provider if message.HasField("credential_provider") else None
        if inner is not None and inner.HasField("assume_role_credential_provider"):
            raise ConfigError(
                "a role that is assumed cannot assume another",
                "credential_provider",
                "assume_role_credential_provider",
            )
        try:
            own = self.chain(inner)
        except ConfigError as error:
            raise error.under("credential_provider") from None
        details = [
            ("RoleArn", message.role_arn),
            ("RoleSessionName", message.role_session_name or _session(self.environ)),
        ]
        if message.external_id:
            details.append(("ExternalId", message.external_id))
        if message.HasField("session_duration"):
            details.append(("DurationSeconds", str(int(seconds(message.session_duration)))))
        sts = sts_url(self.region, self.environ)
        return [AssumedRole(self.web, sts, self.region, details, partial(_found, own))]

    #: In the order in which they are asked.
    _makers: Mapping[str, Callable[[AwsReader, Any], list[Source]]] = {
        "environment_credential_provider": _environment,
        "credentials_file_provider": _file,
        "assume_role_credential_provider": _assumed,
        "assume_role_with_web_identity_provider": _web_identity,
        "container_credential_provider": _container,
        "instance_profile_credential_provider": _instance,
    }


def _found(chain: Chain) -> Deferred[Credentials | None]:
    async def find() -> Credentials | None:
        found = await chain.find()
        return None if found is None else found[0]

    return Deferred.fromCoroutine(find())


def _session(environ: Mapping[str, str]) -> str:
    return environ.get("AWS_ROLE_SESSION_NAME") or str(time.time_ns())


def _text(message: Any, environ: Mapping[str, str]) -> str:
    try:
        return data_source(message, environ, watched=True).decode("utf-8", "replace").strip()
    except ConfigError as error:
        raise NoCredentials(str(error)) from None
