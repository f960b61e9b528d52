"""Whose SMTP server sends a tenant's mail, what of it may be shown, and which hosts a tenant may name."""

import ipaddress
import re
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from contracts.errors import FieldError, Invalid
from mailer.domain.addresses import parse_recipient

#: Stands for a stored secret in every answer; sent back, it means "as it is".
MASK: Final = "********"
_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")


class EmailSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One row of email_settings; `smtp_pass` and `amqp_url` are sealed."""

    id: UUID
    tenant_id: UUID
    provider: str
    smtp_host: str
    smtp_port: int
    smtp_user: str | None
    smtp_pass: bytes | None
    smtp_secure: bool
    sender_name: str | None
    sender_email: str
    amqp_url: bytes | None
    is_active: bool
    created_at: datetime
    updated_at: datetime


class SettingsChange(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants of a row; `smtp_pass` is in clear here, and the mask or UNSET means: as it is."""

    provider: str | UnsetType = UNSET
    smtp_host: str | UnsetType = UNSET
    smtp_port: int | UnsetType = UNSET
    smtp_user: str | UnsetType | None = UNSET
    smtp_pass: str | UnsetType | None = UNSET
    smtp_secure: bool | UnsetType = UNSET
    sender_name: str | UnsetType | None = UNSET
    sender_email: str | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET


def apply(change: SettingsChange, old: EmailSettings, *, allow_private_smtp: bool, now: datetime) -> EmailSettings:
    """`old` with the change made, but for the password, which has to be sealed first.

    A password belongs to the server that it was given for: it does not follow to another host, port or user, where
    whoever may change settings could read it.

    Raises Invalid naming the field that is wrong.
    """
    wanted = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not UNSET}
    given_password = wanted.pop("smtp_pass", MASK)
    settings = msgspec.structs.replace(old, **wanted, updated_at=now)
    check_smtp_host(settings.smtp_host, allow_private=allow_private_smtp)
    sender = parse_recipient(settings.sender_email, settings.sender_name, field="sender_email")
    moved = (old.smtp_host, old.smtp_port, old.smtp_user) != (
        settings.smtp_host,
        settings.smtp_port,
        settings.smtp_user,
    )
    if old.smtp_pass and given_password == MASK and moved:
        raise _wrong("smtp_pass", "has to be given again for another server or user")
    if settings.smtp_user is None and given_password not in (None, MASK):
        raise _wrong("smtp_user", "has to be given with a password")
    return msgspec.structs.replace(settings, sender_email=sender.email, sender_name=sender.name)


def changed_fields(old: EmailSettings, new: EmailSettings) -> list[str]:
    """The names of what `new` says otherwise than `old`, in the row's order; a password given anew is among them."""
    return [name for name in SettingsChange.__struct_fields__ if getattr(old, name) != getattr(new, name)]


def check_smtp_host(host: str, *, allow_private: bool) -> None:
    """Raises Invalid for what is not a host name or an address, and for one that only the inside can reach.

    A name is looked at again when it is connected to: it may resolve to anything by then.
    """
    address = read_address(host)
    if address is not None:
        if not allow_private and not is_public(address):
            raise _refused("is an internal address")
        return
    labels = host.rstrip(".").split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _refused("is not a host name")
    if labels[-1].isdigit() or labels[-1].lower().startswith("0x"):
        raise _refused("is an address in a spelling that is not accepted")
    internal = len(labels) == 1 or labels[-1].lower() in {"localhost", "local", "internal", "localdomain", "arpa"}
    if internal and not allow_private:
        raise _refused("is an internal name")


def read_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """`host` as an IP address, in its one usual spelling; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether the whole internet means one and the same machine by it; an IPv4 address mapped into IPv6 is unpacked."""
    mapped = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    if mapped is not None:
        return is_public(mapped)
    return address.is_global and not address.is_multicast


def _refused(message: str) -> Invalid:
    return _wrong("smtp_host", message)


def _wrong(field: str, message: str) -> Invalid:
    return Invalid(f"{field} {message}", code="settings_refused", errors=[FieldError(f"$.{field}", message)])
