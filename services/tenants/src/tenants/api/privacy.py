"""Requests about personal data over HTTP (LGPD, art. 18): asked for here, done by every service, reported here."""

import base64
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Connection, Database, transaction
from chassis.idempotency import once
from chassis.identity import Identity, requires, tenant_of
from chassis.secrets import SecretBox
from contracts.errors import NotFound
from tenants import store
from tenants.api.caller import actor_of, caller_of
from tenants.domain.identifiers import new_id
from tenants.store.privacy import PrivacyReport, PrivacyRequest
from tenants.usecases.find_powers import find_powers
from tenants.usecases.request_privacy import request_privacy


class Subject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Whose data it is about: somebody of the tenant."""

    user_id: UUID


class Consent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A consent given or withdrawn."""

    user_id: UUID
    purpose: Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[a-z][a-z0-9_:-]*$(?!\n)")]
    given: bool


class RequestView(msgspec.Struct, frozen=True, kw_only=True):
    """A request, and what each service has done of it. `data` is an export's, by service, once it is done."""

    id: UUID
    kind: str
    user_id: UUID
    status: str
    created_at: datetime
    ended_at: datetime | None
    reports: list[PrivacyReport]
    data: dict[str, Any] | None = None


@post("/privacy/erasures", guards=[requires("privacy:write")], status_code=202)
async def post_erasure(
    data: JSONBody[Subject],
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
) -> Response[RequestView]:
    """Asks every service to forget a person; fiscal records stay, with their reason. An Idempotency-Key asks once."""
    tenant_id = tenant_of(identity)

    async def ask(conn: Connection) -> RequestView:
        asked = await request_privacy(
            conn,
            tenant_id,
            data.user_id,
            "erasure",
            powers=await find_powers(conn, tenant_id, identity),
            actor=actor_of(identity),
            caller=caller_of(request),
            now=clock(),
        )
        return _view(asked, [])

    return await once(request, db, data, ask, status=202, on_platform=True)


@post("/privacy/exports", guards=[requires("privacy:write")], status_code=202)
async def post_export(
    data: JSONBody[Subject],
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
) -> Response[RequestView]:
    """Asks every service what it holds of a person. An Idempotency-Key asks once."""
    tenant_id = tenant_of(identity)

    async def ask(conn: Connection) -> RequestView:
        asked = await request_privacy(
            conn,
            tenant_id,
            data.user_id,
            "export",
            powers=await find_powers(conn, tenant_id, identity),
            actor=actor_of(identity),
            caller=caller_of(request),
            now=clock(),
        )
        return _view(asked, [])

    return await once(request, db, data, ask, status=202, on_platform=True)


@get("/privacy/requests/{request_id:uuid}", guards=[requires("privacy:write")])
async def get_request(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    box: NamedDependency[SecretBox],
    request_id: FromPath[UUID],
) -> RequestView:
    """A request, how far it is, and what an export brought."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        asked = await store.privacy.get_request(conn, tenant_id, request_id)
        reports = await store.privacy.list_reports(conn, tenant_id, request_id)
        parts = await store.privacy.find_parts(conn, tenant_id, request_id)
    opened = {
        service: msgspec.json.decode(box.open(base64.b64decode(sealed), tenant_id, "privacy_exports", request_id))
        for service, sealed in parts.items()
    }
    return _view(asked, reports, opened if asked.kind == "export" else None)


@post("/privacy/consents", guards=[requires("privacy:write")])
async def post_consent(
    data: JSONBody[Consent],
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
) -> dict[str, Any]:
    """Notes that somebody of the tenant gave or withdrew a consent."""
    tenant_id, now = tenant_of(identity), clock()
    async with transaction(db, tenant_id) as conn:
        if await store.memberships.find_membership(conn, tenant_id, data.user_id) is None:
            raise NotFound("no such user")
        await store.privacy.insert_consent(conn, tenant_id, new_id(now), data.user_id, data.purpose, data.given, now)
        return {"data": await store.privacy.list_consents(conn, tenant_id, data.user_id)}


def _view(asked: PrivacyRequest, reports: list[PrivacyReport], data: dict[str, Any] | None = None) -> RequestView:
    return RequestView(
        id=asked.id,
        kind=asked.kind,
        user_id=asked.user_id,
        status=asked.status,
        created_at=asked.created_at,
        ended_at=asked.ended_at,
        reports=reports,
        data=data,
    )


ROUTES = [post_erasure, post_export, get_request, post_consent]
