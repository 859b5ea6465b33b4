"""
Secrets: certificates and validations that are named, or in files, and may change.

Those of static_resources stay as they are.  Those of SDS are in a file
(path_config_source) which is read anew when it changes, and so are the files
that it names.  What is new and wrong is counted and logged, and what was before
stays.  Statistics are Envoy's: sds.<name>.*.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import xxhash
from twisted.logger import Logger

from meshd.interfaces import IScope
from meshd.plugin import ConfigError
from meshd.tls.certificates import Credential
from meshd.tls.config import read_certificate
from meshd.tls.sources import Sources
from meshd.tls.validation import Settings
from meshd.tls.validation_config import read_validation
from meshd.tls.watch import States, Watch, Watcher, states_of

log = Logger(namespace="meshd.tls")

CERTIFICATE, VALIDATION = "tls_certificate", "validation_context"
#: What Envoy calls a kind of secret.
_KINDS = {
    CERTIFICATE: "TlsCertificate",
    VALIDATION: "CertificateValidationContext",
    "session_ticket_keys": "TlsSessionTicketKeys",
    "generic_secret": "GenericSecret",
}


class Unreadable(ConfigError):
    """A file of secrets that is no such file; what is in it was not even looked at."""


#: Reads a file of secrets: its version, and its Secret messages.  Raises Unreadable, or ConfigError.
ReadFile = Callable[[str], tuple[str, Sequence[Any]]]
#: Makes a value of the message of a secret and its data sources.
Make = Callable[[Any, Sources], Any]


class Secret:
    """One value, as it is now; None while there is none.  dynamic: it comes by SDS."""

    def __init__(self, make: Make, name: str = "", dynamic: bool = False) -> None:
        self.make = make
        self.dynamic = dynamic
        #: What it is called by SDS or in static_resources; empty if it is in the context itself.
        self.name = name
        self.value: Any = None
        self._callbacks: list[Callable[[], object]] = []

    def on_change(self, callback: Callable[[], object]) -> None:
        """Call back whenever value is another."""
        self._callbacks.append(callback)

    def put(self, value: Any) -> None:
        """Exchange the value, and tell it."""
        self.value = value
        for callback in tuple(self._callbacks):
            try:
                callback()
            except Exception:
                # The others are to know nevertheless.
                log.failure("a secret has changed, but it could not be used")


class _Kept:
    """A message of which secrets are made, now and whenever its files change."""

    def __init__(self, watcher: Watcher) -> None:
        self.secrets: list[Secret] = []
        self.message: Any = None
        self._watcher = watcher
        self._watch: Watch | None = None
        self._digest = b""

    def attach(self, make: Make, name: str = "") -> Secret:
        """Return a secret that is made of the message; it has no value if there is no message yet."""
        secret = Secret(make, name, dynamic=bool(name))
        if self.message is not None:
            secret.value = make(self.message, Sources())
        self.secrets.append(secret)
        return secret

    def accept(self, message: Any) -> None:
        """Make all secrets of a message; raise ConfigError, and change nothing, if it is wrong for any."""
        made, sources = [], Sources()
        for secret in self.secrets:
            sources = Sources()
            made.append(secret.make(message, sources))
        self._watch_all(sources.states)
        digest = message.SerializeToString(deterministic=True) + sources.digest
        same, self._digest, self.message = digest == self._digest, digest, message
        if not same:
            for secret, value in zip(self.secrets, made, strict=True):
                secret.put(value)

    def _watch_all(self, states: States) -> None:
        if self._watch is not None:
            self._watch.watch(states)
        elif states:
            self._watch = self._watcher.add(states, self._files_changed)

    def _files_changed(self) -> None:
        try:
            self.accept(self.message)
        except ConfigError as error:
            self.failed(error)

    def failed(self, error: ConfigError) -> None:
        """Note that the files could not be read anew."""


class Watched(_Kept):
    """A message of the config itself whose files are watched."""

    def __init__(self, watcher: Watcher, name: str, scope: IScope) -> None:
        super().__init__(watcher)
        self._name = name
        self._failures = scope.counter("ssl.key_rotation_failed")

    def failed(self, error: ConfigError) -> None:
        self._failures.inc()
        log.warn("{name}: {error}; what was before stays", name=self._name, error=error.message)


class Subscription(_Kept):
    """A secret of SDS, in a file; name is what the config calls it."""

    def __init__(
        self, kind: str, name: str, source: Any, read: ReadFile, watcher: Watcher, stats: IScope
    ) -> None:
        super().__init__(watcher)
        self._kind, self.name = kind, name
        #: What came last and was good: its Secret message, version, and when (seconds since the epoch).
        self.whole: Any = None
        self.version = ""
        self.updated = time.time()
        self._path = source.path
        self._read = read
        scope = stats.scope(f"sds.{name}")
        self._attempts = scope.counter("update_attempt")
        self._failures = scope.counter("update_failure")
        self._rejections = scope.counter("update_rejected")
        self._successes = scope.counter("update_success")
        self._rotation_failures = scope.counter("key_rotation_failed")
        scope.counter("init_fetch_timeout")
        self._time = scope.gauge("update_time")
        self._duration = scope.histogram("update_duration")
        self._version = scope.gauge("version")
        self._version_text = scope.text("version_text")
        directory = [source.watched_directory.path] if source.watched_directory.path else []
        watcher.add(states_of([self._path, *directory]), self.load)

    def load(self) -> None:
        """Read the file, now."""
        self._attempts.inc()
        began = time.perf_counter()
        try:
            version, messages = self._read(self._path)
            secret = self._only(messages)
            self.accept(getattr(secret, self._kind))
        except Unreadable as error:
            self._failures.inc()
            log.warn("sds: {error}", error=error.message)
        except ConfigError as error:
            self._rejections.inc()
            log.warn("sds: secret {name!r} rejected: {error}", name=self.name, error=error.message)
        else:
            self.whole, self.version, self.updated = secret, version, time.time()
            self._successes.inc()
            self._time.set(int(self.updated * 1000))
            self._duration.record((time.perf_counter() - began) * 1000)
            self._version.set(xxhash.xxh64_intdigest(version.encode()))
            self._version_text.set(version)

    def _only(self, messages: Sequence[Any]) -> Any:
        """Return the one secret that is expected."""
        if not messages:
            raise ConfigError(f"Missing SDS resources for {self.name} in onConfigUpdate()")
        if len(messages) > 1:
            raise ConfigError(
                f"Unexpected SDS secrets length for {self.name}, number of added resources {len(messages)}, "
                "number of removed resources 0. Expected sum is 1"
            )
        secret = messages[0]
        if secret.name != self.name:
            raise ConfigError(f"Unexpected SDS secret (expecting {self.name}): {secret.name}")
        if secret.WhichOneof("type") != self._kind:
            raise ConfigError(f"it is no {_KINDS[self._kind]}")
        return secret

    def failed(self, error: ConfigError) -> None:
        self._rotation_failures.inc()
        log.warn("sds: the files of secret {name!r}: {error}", name=self.name, error=error.message)


class Secrets:
    """All secrets of a worker, by their kinds and names."""

    def __init__(self, read: ReadFile, stats: IScope) -> None:
        self.watcher = Watcher()
        self._read = read
        self._stats = stats
        #: The Secret messages of static_resources, by kind and name.
        self.static: dict[tuple[str, str], Any] = {}
        self._subscriptions: dict[tuple[str, str, bytes], Subscription] = {}

    @property
    def subscriptions(self) -> Iterable[Subscription]:
        """What comes by SDS."""
        return self._subscriptions.values()

    def add_static(self, secrets: Iterable[Any]) -> None:
        """Take the Secret messages of static_resources.  Raise ConfigError."""
        for index, secret in enumerate(secrets):
            kind = secret.WhichOneof("type")
            if kind is None:
                raise ConfigError(f"the secret {secret.name} has no content", index)
            if (kind, secret.name) in self.static:
                text = f"Duplicate static {_KINDS[kind]} secret name {secret.name}"
                raise ConfigError(text, index, "name")
            self.static[kind, secret.name] = secret

    # What contexts ask for.

    def certificate(self, config: Any, scope: IScope | None = None) -> Secret:
        """Return the Credential that an SdsSecretConfig means.  Raise ConfigError."""
        return self._named(CERTIFICATE, config, _credential(config.name))

    def validation(self, config: Any, scope: IScope | None = None) -> Secret:
        """Return the validation's Settings that an SdsSecretConfig means.  Raise ConfigError."""
        return self._named(VALIDATION, config, _settings)

    def combined_validation(self, config: Any, scope: IScope | None = None) -> Secret:
        """Return the Settings of a CombinedCertificateValidationContext.  Raise ConfigError."""
        default = config.default_validation_context

        def combined(message: Any, sources: Sources) -> Settings:
            whole = type(default)()
            whole.CopyFrom(default)
            whole.MergeFrom(message)
            return _settings(whole, sources)

        try:
            return self._named(VALIDATION, config.validation_context_sds_secret_config, combined)
        except ConfigError as error:
            raise error.under("validation_context_sds_secret_config") from None

    def watched_certificate(self, message: Any, scope: IScope) -> Secret:
        """Return the Credential of a TlsCertificate whose files are watched.  Raise ConfigError."""
        return self._watched(message, scope, _credential(""), message.certificate_chain.filename)

    def watched_validation(self, message: Any, scope: IScope) -> Secret:
        """Return the Settings of a validation context whose files are watched.  Raise ConfigError."""
        return self._watched(message, scope, _settings, message.trusted_ca.filename)

    def _watched(self, message: Any, scope: IScope, make: Make, name: str) -> Secret:
        kept = Watched(self.watcher, name or "a watched secret", scope)
        secret = kept.attach(make)
        kept.accept(message)
        return secret

    def _named(self, kind: str, config: Any, make: Make) -> Secret:
        if not config.HasField("sds_config"):
            return self._of_static(kind, config.name, make)
        source = config.sds_config
        if source.WhichOneof("config_source_specifier") != "path_config_source":
            raise ConfigError("meshd serves secrets from path_config_source only", "sds_config")
        key = (kind, config.name, source.path_config_source.SerializeToString(deterministic=True))
        found = self._subscriptions.get(key)
        if found is not None:
            return found.attach(make, config.name)
        self._check_path(source.path_config_source)
        found = Subscription(
            kind, config.name, source.path_config_source, self._read, self.watcher, self._stats
        )
        self._subscriptions[key] = found
        secret = found.attach(make, config.name)
        found.load()
        return secret

    def _of_static(self, kind: str, name: str, make: Make) -> Secret:
        message = self.static.get((kind, name))
        if message is None:
            raise ConfigError(f"Unknown static secret: {name}", "name")
        secret = Secret(make, name)
        try:
            secret.value = make(getattr(message, kind), Sources())
        except ConfigError as error:
            raise ConfigError(f"the static secret {name}: {error.message}", "name") from None
        return secret

    @staticmethod
    def _check_path(source: Any) -> None:
        try:
            with open(source.path, "rb"):
                pass
        except FileNotFoundError:
            raise ConfigError(
                f"paths must refer to an existing path in the system: '{source.path}' does not exist",
                *("sds_config", "path_config_source", "path"),
            ) from None
        except OSError:
            pass  # That is said, and counted, when it is read.


def _credential(name: str) -> Make:
    def make(message: Any, sources: Sources) -> Credential:
        if message.HasField("watched_directory"):
            sources.directory(message.watched_directory)
        credential = read_certificate(message, sources.read)
        credential.secret = name
        return credential

    return make


def _settings(message: Any, sources: Sources) -> Settings:
    if message.HasField("watched_directory"):
        sources.directory(message.watched_directory)
    return read_validation(message, sources.read)
