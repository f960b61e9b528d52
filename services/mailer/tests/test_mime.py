"""Messages built by hand read back the same through the standard library, and nothing can be injected into them."""

import re
from datetime import UTC, datetime
from email import policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import getaddresses
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import Invalid
from mailer.domain.addresses import Address, has_controls
from mailer.domain.mime import build_message, message_id

DATE = datetime(2024, 2, 29, 12, 30, 1, tzinfo=UTC)
ID = message_id(UUID(int=7), "x.test")


def built(**changes: Any) -> bytes:
    parts: dict[str, Any] = {
        "message_id": ID,
        "date": DATE,
        "sender": Address("from@x.test", "Sender"),
        "recipients": [Address("to@y.test")],
        "subject": "Subject",
        "html": "<p>html</p>",
        "text": "text\n",
    }
    return build_message(**{**parts, **changes})


def parsed(raw: bytes) -> EmailMessage:
    message = BytesParser(policy=policy.default).parsebytes(raw)
    assert isinstance(message, EmailMessage)
    return message


def content(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode()


def normal(text: str) -> str:
    """Line ends as they travel."""
    return re.sub(r"\r\n|\r|\n", "\r\n", text)


HEADER_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp", "Cs")), max_size=200)
NAMES = HEADER_TEXT.map(lambda text: " ".join(text.split())).filter(lambda text: not has_controls(text))
BODIES = st.text(st.characters(codec="utf-8"), max_size=600) | st.text("=\r\n.\t -_é\x00ab", max_size=400)


def shown(raw: bytes, header: str) -> list[tuple[str, str]]:
    """Names and addresses; read the older way, since the newer one keeps blanks between encoded words (Python 3.11)."""
    value = BytesParser(policy=policy.compat32).parsebytes(raw)[header]
    return [
        (str(make_header(decode_header(name))), email)
        for name, email in getaddresses([re.sub(r"\r\n(?=[ \t])", "", value)])
    ]


@settings(max_examples=80, deadline=None)
@given(subject=HEADER_TEXT, sender=NAMES, names=st.lists(NAMES, min_size=1, max_size=4), html=BODIES, text=BODIES)
def test_the_standard_library_reads_back_what_was_meant(
    subject: str, sender: str, names: list[str], html: str, text: str
) -> None:
    recipients = [Address(f"r{index}@y.test", name or None) for index, name in enumerate(names)]
    raw = built(
        subject=subject, sender=Address("from@x.test", sender or None), recipients=recipients, html=html, text=text
    )
    assert raw.count(b"\r\n") == raw.count(b"\n") == raw.count(b"\r")
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert all(byte < 128 for byte in raw)
    message = parsed(raw)
    assert not message.defects
    assert set(message.keys()) == {
        "Date", "From", "To", "Subject", "Message-ID", "MIME-Version", "Auto-Submitted", "Content-Type",
    }  # fmt: skip
    assert message["Subject"] == subject
    assert shown(raw, "From") == [(sender, "from@x.test")]
    assert shown(raw, "To") == [(one.name or "", one.email) for one in recipients]
    assert message["Date"].datetime == DATE
    assert message["Message-ID"] == ID
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert content(message, "plain") == normal(text)
    assert content(message, "html") == normal(html)


def test_the_message_id_is_the_emails_and_the_boundary_the_messages() -> None:
    assert ID == "<00000000-0000-0000-0000-000000000007@x.test>"
    boundary = parsed(built()).get_boundary()
    assert boundary is not None
    assert boundary != parsed(built(message_id="<8@x.test>")).get_boundary()
    # Even a body that knows the boundary cannot end its part.
    trap = f"a\r\n--{boundary}--\r\nb\r\n--{boundary}\r\n\r\nc"
    message = parsed(built(html=trap, text=trap))
    assert len(list(message.iter_parts())) == 2
    assert content(message, "html") == trap
    for domain in ("x test", "x\r\n", "", "x>", "é.test", "-x"):
        with pytest.raises(Invalid):
            message_id(UUID(int=7), domain)


CONTROLS = [
    "\r\nBcc: evil@x.test",
    "\n",
    "\r",
    "\v",
    "\f",
    "\x00",
    "\x1b",
    "\x7f",
    "\x85",
    "\u2028",
    "\u2029",
    "\t",
    "\ud800",
]


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_a_control_character_in_any_header_is_refused(control: str) -> None:
    for changes in (
        {"subject": f"a{control}b"},
        {"sender": Address("from@x.test", f"a{control}b")},
        {"sender": Address(f"from{control}@x.test")},
        {"recipients": [Address("to@y.test", f"a{control}b")]},
        {"recipients": [Address(f"to@y.test{control}")]},
        {"message_id": f"<a{control}@x>"},
        {"headers": {"X-Tag": f"a{control}b"}},
        {"headers": {f"X-Tag{control}": "a"}},
    ):
        with pytest.raises(Invalid):
            built(**changes)


LOOKALIKES = [
    "=?utf-8?q?a=0d=0aBcc:_evil=40x.test?=",
    "=?utf-8?b?YQ0KQmNjOiBldmlsQHgudGVzdA==?=",
    "=?utf-8?q?=00?=",
    "=?us-ascii?Q?x?= =?us-ascii?Q?y?=",
    "a =?utf-8?q?=0a?= b",
    "=?",
    "?=",
    "=?utf-8?q?unended",
    "=?utf-7?q?+AA0ACg-?=",
]


@pytest.mark.parametrize("lookalike", LOOKALIKES)
def test_what_looks_like_an_encoded_word_shows_as_it_was_given(lookalike: str) -> None:
    raw = built(
        subject=lookalike, sender=Address("from@x.test", lookalike), recipients=[Address("to@y.test", lookalike)]
    )
    message = parsed(raw)
    assert message["Subject"] == lookalike
    assert shown(raw, "From") == [(lookalike, "from@x.test")]
    assert shown(raw, "To") == [(lookalike, "to@y.test")]
    assert message["Bcc"] is None


def test_own_headers_cannot_be_replaced_and_others_are_added() -> None:
    assert parsed(built(headers={"X-Template": "olá"}))["X-Template"] == "olá"
    for name in ("From", "to", "BCC", "Subject", "Content-Type", "content-anything", "Received", "X Y", "X:", "", "É"):
        with pytest.raises(Invalid):
            built(headers={name: "x"})


@pytest.mark.parametrize(
    "email", ["a@x.test, b@y.test", "a@x.test>", "a b@x.test", "a", "a@b@c", '"a"@x.test', "a;b@x.test"]
)
def test_an_address_that_is_not_one_mailbox_is_refused(email: str) -> None:
    with pytest.raises(Invalid):
        built(recipients=[Address(email)])
    with pytest.raises(Invalid):
        built(recipients=[])


def test_a_list_is_one_message_to_all_of_them_and_long_lists_are_folded() -> None:
    recipients = [Address(f"someone.number{index}@a-rather-long-domain.test", "N, " * 20) for index in range(50)]
    raw = built(recipients=recipients)
    assert len(shown(raw, "To")) == 50
    assert max(map(len, raw.split(b"\r\n"))) < 200


def test_an_address_outside_ascii_stands_in_utf8() -> None:
    raw = built(recipients=[Address("joão@y.test", "João")])
    assert "joão@y.test".encode() in raw


def test_bodies_of_one_long_line_are_folded() -> None:
    for body in ("a" * 5000, "é" * 5000, "a \n" * 10 + "=" * 3000, "." * 3000, "\n.\r\n.\n"):
        raw = built(html=body, text=body)
        assert max(map(len, raw.split(b"\r\n"))) <= 90
        assert content(parsed(raw), "html") == normal(body)
