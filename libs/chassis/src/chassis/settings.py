"""Environment variables to one frozen Struct, or a refusal that names every wrong variable and no value."""

import base64
import binascii
import hmac
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import SplitResult, urlsplit

import msgspec

MIN_SECRET_BYTES = 32
_EXAMPLE = re.compile(
    r"your[-_ ]|change[-_ ]?(me|this|it)|example|placeholder|replace[-_ ]?me|insert[-_ ]|dummy|todo|xxxx|<.*>"
    r"|^(super|my|top|jwt|very)?[-_ ]?(long)?[-_ ]?(secret|password|key|token)"
    r"([-_ ]?(key|value|string|token))*[-_ ]?\d*$"
    r"|^(test|default|secret|password|qwerty|guest|admin|postgres|0123456789|1234567890|abcdefghij)",
    re.IGNORECASE,
)


_QUOTED = re.compile(r"'.*'", re.DOTALL)


class SettingsError(Exception):
    """The environment cannot be served from; each problem names its variable, never the value."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("refusing to start: " + "; ".join(problems))
        self.problems = problems


class Secret:
    """A string that shows itself only to who asks: `reveal()`; printed, formatted or logged it is `***`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)


class SecretUrl(Secret):
    """A URL that holds a password, such as AMQP_URL."""


class DatabaseUrl(str):
    """A Postgres URL. A service ignores its user and password: it connects as its own roles."""

    __slots__ = ()


class PublicKey(str):
    """An Ed25519 public key: its 32 raw bytes in base64url."""

    __slots__ = ()


Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every service reads from the environment; a service subclasses it for its own."""

    database_url: DatabaseUrl
    db_role_secret: Secret
    amqp_url: SecretUrl
    internal_public_key: PublicKey
    internal_public_key_previous: PublicKey | None = None
    secrets_key: Secret
    secrets_key_previous: Secret | None = None
    host: str = "127.0.0.1"
    port: Port
    metrics_host: str = "127.0.0.1"
    metrics_port: Port
    role: Literal["api", "worker", "all"] = "all"
    environment: Literal["production", "local"] = "production"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    otel_exporter_otlp_endpoint: str | None = None
    pool_size: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10
    drain_wait_s: Annotated[float, msgspec.Meta(ge=0)] = 2.0
    shutdown_grace_s: Annotated[float, msgspec.Meta(ge=0)] = 15.0


S = TypeVar("S", bound=msgspec.Struct)


def load(settings: type[S], env: Mapping[str, str]) -> S:
    """`settings` filled from `env`: field `foo_bar` from FOO_BAR, lists from comma-separated values.

    An empty variable counts as unset. With ENVIRONMENT=local a secret may be short; it may never be missing.
    Raises SettingsError with every problem at once.
    """
    local = env.get("ENVIRONMENT") == "local"
    hints = get_type_hints(settings, include_extras=True)
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field in msgspec.structs.fields(settings):
        variable = field.name.upper()
        raw = env.get(variable, "").strip()
        if not raw:
            if field.required:
                problems.append(f"{variable} is missing")
            continue
        try:
            values[field.name] = _convert(raw, hints[field.name], local=local)
        except (ValueError, msgspec.ValidationError) as error:
            # What others quote in their errors is a part of the value.
            problems.append(f"{variable} is refused: " + _QUOTED.sub("'...'", str(error)))
    if problems:
        raise SettingsError(problems)
    try:
        return settings(**values)
    except ValueError as error:
        raise SettingsError([str(error)]) from None


def secrets_of(settings: msgspec.Struct) -> tuple[str, ...]:
    """The values that must never be printed, for the redaction of logs."""
    found: list[str] = []
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if isinstance(value, SecretUrl):
            found += [value.reveal(), urlsplit(value.reveal()).password or ""]
        elif isinstance(value, Secret):
            found.append(value.reveal())
    return tuple(value for value in found if value)


def _convert(raw: str, hint: Any, *, local: bool) -> Any:
    def decode(kind: type, value: object) -> object:
        text = str(value)
        if kind is PublicKey:
            _check_public_key(text)
        elif kind is DatabaseUrl:
            _check_url(text, ("postgres", "postgresql"), path_needed=True)
        elif kind is SecretUrl:
            _check_url(text, ("amqp", "amqps"))
            if not local and _EXAMPLE.search(urlsplit(text).password or "password"):
                raise ValueError("its password is missing or an example")
        elif kind is Secret and not local:
            check_secret(text)
        return kind(text)

    if get_origin(hint) is Literal:
        raw = raw.lower()
    members = [hint, *get_args(hint)]
    is_list = any(get_origin(member) in (list, tuple, frozenset, set) for member in members)
    value = [part.strip() for part in raw.split(",") if part.strip()] if is_list else raw
    converted = msgspec.convert(value, hint, strict=False, dec_hook=decode)
    if isinstance(converted, float) and not math.isfinite(converted):
        raise ValueError("it is not a finite number")
    return converted


def check_secret(text: str) -> None:
    """Nothing, for a secret fit to be used. Raises ValueError for one that is short, an example or all alike."""
    if _EXAMPLE.search(text):
        raise ValueError("it is an example or a guessable value")
    if len(text.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"it is shorter than {MIN_SECRET_BYTES} bytes")
    if len(set(text)) < 8:
        raise ValueError("it repeats too few characters")


def split_url(text: str) -> SplitResult:
    """The parts of a URL whose host and port can be read. Raises ValueError in words that quote nothing of it."""
    if not text.isprintable() or " " in text:
        raise ValueError("it is not a URL")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # Python's own text quotes what it took for the port, as a rule half of a password
        raise ValueError("it is not a URL: is a / ? # [ or ] in its user or password not percent-encoded?") from None
    if port == 0:
        raise ValueError("its port is 0")
    return parts


def _check_url(text: str, schemes: tuple[str, ...], *, path_needed: bool = False) -> None:
    parts = split_url(text)
    if parts.scheme not in schemes:
        raise ValueError(f"its scheme must be one of {', '.join(schemes)}")
    if not (parts.hostname or "host=" in parts.query):
        raise ValueError("it names no host")
    if path_needed and len(parts.path) < 2:
        raise ValueError("it names no database")


def _check_public_key(text: str) -> None:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("it is not base64url") from None
    if len(raw) != 32 or not any(raw):
        raise ValueError("it is not an Ed25519 public key of 32 bytes")
