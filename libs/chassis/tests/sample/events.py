"""What the sample service hears and says."""

from uuid import UUID

from bus.consumer import Handler
from bus.envelope import Envelope
from chassis.db import Connection
from contracts.event import Event


class NoteWritten(Event, frozen=True, kw_only=True, tag="sample.note.written.v1"):
    """Somebody wrote a note."""

    note_id: UUID
    title: str


async def on_note_written(connection: Connection, event: NoteWritten, envelope: Envelope) -> None:
    """Writes a note about the note, unless the title says to fail."""
    if event.title == "poison":
        raise ValueError("a bug in the handler")
    assert envelope.tenantid
    await connection.execute(
        "INSERT INTO notes (tenant_id, id, title) VALUES ($1, $2, $3)",
        envelope.tenantid,
        event.note_id,
        f"{event.title}, heard in {envelope.traceparent and envelope.traceparent[3:35]}",
    )


HANDLERS = (Handler(event=NoteWritten, fn=on_note_written),)
