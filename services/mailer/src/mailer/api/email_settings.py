"""SMTP settings over HTTP. Passwords go in and never come out."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import UNSET, UnsetType

from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Connection, Database, transaction
from chassis.doers import doer_of
from chassis.idempotency import once
from chassis.identity import Identity, requires, tenant_of
from chassis.secrets import SecretBox
from mailer import store
from mailer.api.pages import Cursor, Limit, Page, page_of, start_of
from mailer.domain.email_settings import MASK, EmailSettings, SettingsChange
from mailer.smtp import SmtpPool
from mailer.usecases.create_settings import create_settings
from mailer.usecases.delete_settings import delete_settings
from mailer.usecases.open_origin import open_origin
from mailer.usecases.send_test_email import Trial, send_test_email
from mailer.usecases.update_settings import update_settings

Provider = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Host = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
User = Annotated[str, msgspec.Meta(min_length=1, max_length=320)]
Password = Annotated[str, msgspec.Meta(max_length=1000, description=f"`{MASK}` when read; sent back: unchanged.")]
SenderName = Annotated[str, msgspec.Meta(max_length=200)]
Mailbox = Annotated[str, msgspec.Meta(min_length=3, max_length=320)]


class SettingsView(msgspec.Struct, frozen=True, kw_only=True):
    """SMTP settings; a stored password or AMQP URL shows as a mask."""

    id: UUID
    tenant_id: UUID
    provider: str
    smtp_host: str
    smtp_port: int
    smtp_user: str | None
    smtp_pass: str | None
    smtp_secure: bool
    sender_name: str | None
    sender_email: str
    amqp_url: str | None
    is_active: bool
    created_at: datetime
    updated_at: datetime


class NewSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SMTP settings to create. `smtp_secure`: TLS from the first byte; else STARTTLS where the server offers it."""

    provider: Provider = "smtp"
    smtp_host: Host
    smtp_port: Port = 587
    smtp_user: User | None = None
    smtp_pass: Password | None = None
    smtp_secure: bool = False
    sender_name: SenderName | None = None
    sender_email: Mailbox
    is_active: bool = True


class SettingsPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of the settings is to change; what is absent stays."""

    provider: Provider | UnsetType = UNSET
    smtp_host: Host | UnsetType = UNSET
    smtp_port: Port | UnsetType = UNSET
    smtp_user: User | UnsetType | None = UNSET
    smtp_pass: Password | UnsetType | None = UNSET
    smtp_secure: bool | UnsetType = UNSET
    sender_name: SenderName | UnsetType | None = UNSET
    sender_email: Mailbox | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET


class TestSend(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """To whom a mail is to be sent, as a test."""

    to: Mailbox


@get("/email-settings", guards=[requires("email_settings:read")])
async def list_settings(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[SettingsView]:
    """The tenant's own SMTP settings; at most one row is active."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        rows = await store.email_settings.list_settings(conn, tenant_id, after=start_of(cursor), limit=limit + 1)
    return page_of(rows, [_view(row) for row in rows], limit)


@get("/email-settings/{settings_id:uuid}", guards=[requires("email_settings:read")])
async def get_settings(
    db: NamedDependency[Database], identity: NamedDependency[Identity], settings_id: FromPath[UUID]
) -> SettingsView:
    """One row of SMTP settings."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        return _view(await store.email_settings.get_settings(conn, tenant_id, settings_id))


@post("/email-settings", guards=[requires("email_settings:write")])
async def post_settings(
    data: JSONBody[NewSettings],
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    box: NamedDependency[SecretBox],
    allow_private_smtp: NamedDependency[bool],
) -> Response[SettingsView]:
    """Creates SMTP settings, active ones in the place of those that were. An Idempotency-Key creates them once."""
    tenant_id = tenant_of(identity)

    async def create(conn: Connection) -> SettingsView:
        change = SettingsChange(**msgspec.structs.asdict(data))
        return _view(
            await create_settings(
                conn,
                tenant_id,
                change,
                by=doer_of(request),
                box=box,
                allow_private_smtp=allow_private_smtp,
                now=clock(),
            )
        )

    return await once(request, db, data, create)


@patch("/email-settings/{settings_id:uuid}", guards=[requires("email_settings:write")])
async def patch_settings(
    data: JSONBody[SettingsPatch],
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    box: NamedDependency[SecretBox],
    allow_private_smtp: NamedDependency[bool],
    settings_id: FromPath[UUID],
) -> SettingsView:
    """Changes SMTP settings; a masked password means the stored one."""
    tenant_id = tenant_of(identity)
    change = SettingsChange(**msgspec.structs.asdict(data))
    async with transaction(db, tenant_id) as conn:
        return _view(
            await update_settings(
                conn,
                tenant_id,
                settings_id,
                change,
                by=doer_of(request),
                box=box,
                allow_private_smtp=allow_private_smtp,
                now=clock(),
            )
        )


@delete("/email-settings/{settings_id:uuid}", guards=[requires("email_settings:write")])
async def remove_settings(
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    settings_id: FromPath[UUID],
) -> None:
    """Removes SMTP settings; without active ones the platform's are used."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        await delete_settings(conn, tenant_id, settings_id, by=doer_of(request), now=clock())


@post("/email-settings/{settings_id:uuid}/test-send", guards=[requires("email_settings:write")], status_code=200)
async def test_send(
    data: JSONBody[TestSend],
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    box: NamedDependency[SecretBox],
    smtp: NamedDependency[SmtpPool],
    allow_private_smtp: NamedDependency[bool],
    settings_id: FromPath[UUID],
) -> Trial:
    """Sends one fixed mail through these settings, active or not, and says what the server said; each call sends."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        settings = await store.email_settings.get_settings(conn, tenant_id, settings_id)
    origin = open_origin(settings, box, allow_private_smtp=allow_private_smtp)
    return await send_test_email(origin, data.to, smtp=smtp, now=clock())


def _view(settings: EmailSettings) -> SettingsView:
    fields = msgspec.structs.asdict(settings)
    return SettingsView(
        **fields
        | {
            "smtp_pass": MASK if settings.smtp_pass else None,
            "amqp_url": MASK if settings.amqp_url else None,
        }
    )


ROUTES = [list_settings, get_settings, post_settings, patch_settings, remove_settings, test_send]
