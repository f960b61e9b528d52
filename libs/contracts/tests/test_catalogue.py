"""The published schemas are those of the code, and every event keeps the naming rule."""

import re
from pathlib import Path

from contracts import mailer
from contracts.catalogue import EVENTS, schemas, write
from contracts.event import Event, event_type, exchange_of

ROOT = Path(__file__).parents[3]
TYPE = re.compile(r"[a-z-]+\.[a-z_]+\.[a-z_]+\.v[1-9]\d*")


def test_published_schemas_are_fresh() -> None:
    published = {path.name: path.read_text() for path in (ROOT / "docs/events").glob("*.json")}
    assert published == schemas(), "run `make events`"


def test_every_event_is_in_the_catalogue_once_and_well_named() -> None:
    def leaves(cls: type[Event]) -> set[type[Event]]:
        children = cls.__subclasses__()
        return set().union(*map(leaves, children)) if children else {cls}

    # Other tests may define events of their own; the catalogue holds those of this package.
    ours = {cls for cls in leaves(Event) if cls.__module__.startswith("contracts.")}
    assert set(EVENTS) == ours
    types = [event_type(event) for event in EVENTS]
    assert len(types) == len(set(types))
    for event in EVENTS:
        assert TYPE.fullmatch(event_type(event))
        assert event_type(event).split(".")[0] == event.__module__.removeprefix("contracts.").replace("_", "-")


def test_write_removes_what_is_no_more(tmp_path: Path) -> None:
    (tmp_path / "old.thing.happened.v1.json").write_text("{}")
    write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == schemas().keys()


def test_exchange_is_the_publishing_service() -> None:
    assert exchange_of(event_type(mailer.EmailSent)) == "mailer.events"
    assert exchange_of("admin-analytics.report.made.v1") == "admin-analytics.events"
