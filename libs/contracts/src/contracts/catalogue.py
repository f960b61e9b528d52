"""Every event of the product, from which docs/events/ is generated (`python -m contracts.catalogue docs/events`)."""

import sys
from pathlib import Path

import msgspec

from contracts import billing, mailer, tenants
from contracts.event import Event, event_type

EVENTS: tuple[type[Event], ...] = (*billing.EVENTS, *mailer.EVENTS, *tenants.EVENTS)


def schemas() -> dict[str, str]:
    """The JSON Schema (2020-12) of each event's `data`, by file name `<type>.json`."""
    documents: dict[str, str] = {}
    for event in EVENTS:
        document = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": event_type(event),
            "description": (event.__doc__ or "").strip(),
            **msgspec.json.schema(event),
        }
        documents[f"{event_type(event)}.json"] = (
            msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"
        )
    return documents


def write(folder: Path) -> None:
    """Writes each schema into `folder` and removes those of events that are no more."""
    documents = schemas()
    folder.mkdir(parents=True, exist_ok=True)
    for stale in {path.name for path in folder.glob("*.json")} - documents.keys():
        (folder / stale).unlink()
    for name, text in documents.items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
