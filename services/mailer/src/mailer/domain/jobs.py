"""Reads a mail job as the Go core writes it: tolerant of names, strict about what reaches a mail."""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from contracts.errors import FieldError, Invalid, Malformed, TooLarge
from contracts.tenancy import PLATFORM_TENANT_ID
from mailer.domain.addresses import Address, parse_recipient

MAX_JOB_BYTES: Final = 256 * 1024
MAX_RECIPIENTS: Final = 100
MAX_DEPTH: Final = 16
MAX_NAME_CHARS: Final = 200
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")

#: The job's fields are written down nowhere; these are the names that its producers were seen or expected to use.
#: The first of each is the canonical one.
ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "to": ("to", "email", "recipient", "recipients"),
    "template": ("template", "template_slug", "templateSlug", "slug", "templateName", "template_name"),
    "variables": ("variables", "data", "context", "vars"),
    "tenant_id": ("tenant_id", "tenantId"),
    "locale": ("locale", "language", "lang"),
    "idempotency_key": ("idempotency_key", "idempotencyKey"),
}


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job that can be accepted. Every recipient gets a mail of their own."""

    recipients: tuple[Address, ...]
    template: str
    variables: dict[str, Any]
    tenant_id: UUID
    locale: str | None
    idempotency_key: str | None

    def identity(self, message_id: str | None) -> str | None:
        """What makes two deliveries the same job: its key within the tenant, else the AMQP message_id, else nothing."""
        if self.idempotency_key is not None:
            return f"{self.tenant_id}:{self.idempotency_key}"
        return f"amqp:{message_id}" if message_id else None


def decode_job(body: bytes) -> Job:
    """The job in `body`.

    Raises Malformed when it is not a JSON object, TooLarge over 256 KiB, Invalid naming the field that is wrong.
    """
    if len(body) > MAX_JOB_BYTES:
        raise TooLarge(f"the job has {len(body)} bytes; the limit is {MAX_JOB_BYTES}")
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the job is not JSON: {error}", code="malformed_job") from error
    if not isinstance(fields, dict):
        raise Malformed("the job is not a JSON object", code="malformed_job")
    variables = _field(fields, "variables") or {}
    if not isinstance(variables, dict):
        raise _wrong("variables", "expected an object")
    _check_plain("variables", variables, MAX_DEPTH)
    return Job(
        recipients=_recipients(_field(fields, "to")),
        template=_name(fields, "template", required=True) or "",
        variables=variables,
        tenant_id=_tenant(_field(fields, "tenant_id")),
        locale=_name(fields, "locale"),
        idempotency_key=_name(fields, "idempotency_key"),
    )


def without_recipient(body: bytes, email: str, tenants: Collection[UUID]) -> bytes | None:
    """A job that could not be taken, without that recipient; as it was when it is none of theirs or of these tenants'.

    None when nobody else is left to write to, and when nobody can tell whom it was for.
    """
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    try:
        tenant_id = _tenant(_field(fields, "tenant_id"))
    except Invalid:
        tenant_id = PLATFORM_TENANT_ID
    if tenant_id not in tenants:
        return body
    left = dict(fields)
    for alias in ALIASES["to"]:
        given = fields.get(alias)
        others = [entry for entry in (given if isinstance(given, list) else [given]) if not _is_for(entry, email)]
        if others != given and others != [given]:
            left[alias] = others or None
    if left == fields:
        return body
    return msgspec.json.encode(left) if _given(left, "to") else None


def _is_for(entry: Any, email: str) -> bool:
    try:
        return _recipient(entry).email.lower() == email.lower()
    except Invalid:  # no address, which may be why the job could not be taken: then it is enough that it names them
        return email.lower() in str(entry).lower()


def _field(fields: Mapping[str, Any], name: str) -> Any:
    """The value of a field under whichever alias it came; two aliases that disagree are nobody's to guess between."""
    given = _given(fields, name)
    if any(value != given[0] for value in given[1:]):
        raise _wrong(name, f"given twice, differently; send it once, as {name!r}")
    return given[0] if given else None


def _given(fields: Mapping[str, Any], name: str) -> list[Any]:
    return [fields[alias] for alias in ALIASES[name] if fields.get(alias) is not None]


def _name(fields: Mapping[str, Any], name: str, *, required: bool = False) -> str | None:
    value = _field(fields, name)
    if isinstance(value, int) and not isinstance(value, bool) and name == "idempotency_key":
        value = str(value)
    if value is None and not required:
        return None
    if not isinstance(value, str) or not value.strip():
        raise _wrong(name, "expected a text that is not empty")
    if len(value) > MAX_NAME_CHARS:
        raise _wrong(name, f"longer than {MAX_NAME_CHARS} characters")
    if CONTROL.search(value):
        raise _wrong(name, "has a control character")
    return value


def _tenant(value: Any) -> UUID:
    if value is None or value == "":
        return PLATFORM_TENANT_ID
    try:
        return msgspec.convert(value, UUID)
    except msgspec.ValidationError as error:
        raise _wrong("tenant_id", "expected a UUID") from error


def _recipients(value: Any) -> tuple[Address, ...]:
    entries: Sequence[Any] = value if isinstance(value, list) else [value]
    if not entries or len(entries) > MAX_RECIPIENTS:
        raise _wrong("to", f"expected 1 to {MAX_RECIPIENTS} recipients")
    by_mailbox: dict[str, Address] = {}
    for entry in entries:
        address = _recipient(entry)
        by_mailbox.setdefault(address.email.lower(), address)  # one mailbox gets one mail
    return tuple(by_mailbox.values())


def _recipient(entry: Any) -> Address:
    if isinstance(entry, str):
        return parse_recipient(entry)
    if isinstance(entry, dict):
        email = entry.get("email") or entry.get("address")
        name = entry.get("name")
        if isinstance(email, str) and (name is None or isinstance(name, str)):
            return parse_recipient(email, name=name)
    raise _wrong("to", "expected an address, an object with email and name, or a list of these")


def _check_plain(path: str, value: Any, depth: int) -> None:
    """Refuses what Postgres or a template cannot hold: U+0000, numbers beyond a double, nesting without end."""
    if depth == 0:
        raise _wrong(path, f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        for key, member in value.items():
            _check_plain(f"{path}.{key[:40]}", key, depth - 1)
            _check_plain(f"{path}.{key[:40]}", member, depth - 1)
    elif isinstance(value, list):
        for index, member in enumerate(value):
            _check_plain(f"{path}[{index}]", member, depth - 1)
    elif isinstance(value, str) and "\x00" in value:
        raise _wrong(path.replace("\x00", "?"), "has the character U+0000")
    elif isinstance(value, float) and not math.isfinite(value):
        raise _wrong(path, "is not a finite number")


def _wrong(field: str, message: str) -> Invalid:
    return Invalid(f"{field}: {message}", code="invalid_job", errors=[FieldError(f"$.{field}", message)])
