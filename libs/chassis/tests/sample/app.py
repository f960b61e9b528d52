"""Composition root of the sample service."""

import asyncio
from collections.abc import Mapping
from typing import Annotated
from uuid import UUID, uuid4

import msgspec
from litestar import Litestar, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from bus.outbox import tell
from chassis.app import create_app
from chassis.body_guard import StrictRequest
from chassis.db import Connection, Database, transaction
from chassis.idempotency import once
from chassis.identity import Identity, requires, tenant_of
from chassis.settings import ServiceSettings, load
from contracts.errors import NotFound, Unavailable

from .events import HANDLERS, NoteWritten


class NewNote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client sends to write a note."""

    title: Annotated[str, msgspec.Meta(min_length=1, max_length=100_000)]
    priority: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] = 0


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A note as it stands."""

    id: UUID
    title: str
    priority: int


async def _insert(connection: Connection, tenant_id: UUID, note: Note) -> Note:
    await connection.execute(
        "INSERT INTO notes (tenant_id, id, title, priority) VALUES ($1, $2, $3, $4)",
        tenant_id,
        note.id,
        note.title,
        note.priority,
    )
    return note


@post("/notes", guards=[requires("notes:write")])
async def create_note(
    data: JSONBody[NewNote], request: StrictRequest, db: NamedDependency[Database], identity: NamedDependency[Identity]
) -> Response[Note]:
    """Writes a note; the same Idempotency-Key writes it once."""
    tenant_id = tenant_of(identity)
    note = Note(id=uuid4(), title=data.title, priority=data.priority)
    return await once(request, db, data, lambda connection: _insert(connection, tenant_id, note))


@get("/notes", guards=[requires("notes:read")])
async def list_notes(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    limit: Annotated[int, QueryParameter(ge=1, le=100)] = 50,
) -> list[Note]:
    """The tenant's notes."""
    async with transaction(db, tenant_of(identity)) as connection:
        rows = await connection.fetch("SELECT id, title, priority FROM notes ORDER BY title LIMIT $1", limit)
    return [Note(**dict(row)) for row in rows]


@get("/notes/{note_id:uuid}", guards=[requires("notes:read")])
async def get_note(db: NamedDependency[Database], identity: NamedDependency[Identity], note_id: FromPath[UUID]) -> Note:
    """One note."""
    async with transaction(db, tenant_of(identity)) as connection:
        row = await connection.fetchrow("SELECT id, title, priority FROM notes WHERE id = $1", note_id)
    if row is None:
        raise NotFound("No such note.")
    return Note(**dict(row))


@get("/titles/{title:str}", guards=[requires("notes:read")])
async def find_title(
    db: NamedDependency[Database], identity: NamedDependency[Identity], title: FromPath[str]
) -> list[Note]:
    """The notes of a title."""
    async with transaction(db, tenant_of(identity)) as connection:
        rows = await connection.fetch("SELECT id, title, priority FROM notes WHERE title = $1", title)
    return [Note(**dict(row)) for row in rows]


@get("/slow")
async def slow() -> dict[str, bool]:
    """Takes four seconds, for the shutdown to wait for."""
    await asyncio.sleep(4)
    return {"done": True}


@get("/faults/{kind:str}")
async def fault(db: NamedDependency[Database], identity: NamedDependency[Identity], kind: FromPath[str]) -> None:
    """Fails in one of the ways that a service can."""
    if kind == "defect":
        raise RuntimeError("a defect that mentions hunter2-canary-secret")
    if kind == "away":
        raise Unavailable("The provider is away.", retry_after_s=7)
    async with transaction(db, tenant_of(identity)) as connection:
        await connection.execute(
            "DO $$ BEGIN RAISE EXCEPTION 'secret table mentioned' USING ERRCODE = '" + kind + "'; END $$"
        )


@post("/notes/{title:str}/told", guards=[requires("notes:write")])
async def tell_note(db: NamedDependency[Database], identity: NamedDependency[Identity], title: FromPath[str]) -> None:
    """Says that a note was written."""
    tenant_id, note_id = tenant_of(identity), uuid4()
    async with transaction(db, tenant_id) as connection:
        await tell(connection, NoteWritten(note_id=note_id, title=title), tenant_id=tenant_id, aggregate_id=note_id)


ROUTES = [tell_note, create_note, list_notes, get_note, find_title, slow, fault]


def build(env: Mapping[str, str]) -> Litestar:
    """The service for this environment."""
    return create_app(name="sample", settings=load(ServiceSettings, env), routes=ROUTES, handlers=HANDLERS)
