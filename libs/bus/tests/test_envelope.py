"""What goes over the wire can be read back; what cannot be read is refused, whatever it is."""

from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.envelope import Envelope, decode_data, decode_envelope, encode_event
from contracts.errors import Malformed
from contracts.event import event_type
from contracts.mailer import EmailBounced, EmailSent

from .support import sent


def encoded(event: EmailSent, tenant_id: UUID | None, subject: str | None, traceparent: str | None) -> bytes:
    return encode_event(
        event,
        event_id=UUID(int=5),
        tenant_id=tenant_id,
        subject=subject,
        time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        traceparent=traceparent,
        source="/mailer",
    )


@given(
    template=st.text(st.characters(exclude_categories=["Cs"])),
    tenant_id=st.none() | st.uuids(),
    subject=st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
)
def test_an_event_is_read_back_as_it_was(template: str, tenant_id: UUID | None, subject: str | None) -> None:
    event = sent(template=template)
    envelope = decode_envelope(encoded(event, tenant_id, subject, None))
    assert decode_data(envelope, EmailSent) == event
    assert (envelope.tenantid, envelope.subject, envelope.type) == (tenant_id, subject, event_type(EmailSent))


def test_the_wire_form_is_cloudevents_1_0() -> None:
    fields = msgspec.json.decode(encoded(sent(), UUID(int=7), None, "00-a-b-01"))
    assert fields.pop("data")["type"] == "mailer.email.sent.v1"
    assert fields == {
        "specversion": "1.0",
        "id": str(UUID(int=5)),
        "source": "/mailer",
        "type": "mailer.email.sent.v1",
        "time": "2026-01-02T03:04:05Z",
        "tenantid": str(UUID(int=7)),
        "traceparent": "00-a-b-01",
        "datacontenttype": "application/json",
    }


def test_unknown_attributes_are_ignored() -> None:
    fields = msgspec.json.decode(encoded(sent(), None, None, None)) | {"newextension": 1}
    assert decode_envelope(msgspec.json.encode(fields)).tenantid is None


@given(st.binary(max_size=200))
def test_no_bytes_make_the_decoder_fail_otherwise(raw: bytes) -> None:
    with suppress(Malformed):
        assert isinstance(decode_envelope(raw), Envelope)


@pytest.mark.parametrize("raw", [b"[" * 200_000, b'{"data":' * 100_000, b"\xed\xa0\x80", b"null", b"{}"])
def test_hostile_bytes_are_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        decode_envelope(raw)


def test_data_of_another_type_is_malformed() -> None:
    envelope = decode_envelope(encoded(sent(email_id=uuid4()), None, None, None))
    with pytest.raises(Malformed):
        decode_data(envelope, EmailBounced)
