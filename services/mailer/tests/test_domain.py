"""The pure rules of lanes, endings, ids, hosts and template choice."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from contracts.errors import Invalid
from contracts.event import event_type
from contracts.tenancy import PLATFORM_TENANT_ID
from mailer.domain import emails
from mailer.domain.email_settings import MASK, EmailSettings, SettingsChange, apply, check_smtp_host
from mailer.domain.email_templates import TemplateChoice, TemplateIndex
from mailer.domain.emails import Claim, Ending, Status
from mailer.domain.identifiers import cursor_after, first_id_at, new_id, read_cursor
from mailer.domain.lanes import FIRST_WINDOW, LONGEST_PAUSE_S, WIDEST_WINDOW, Lane

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def claim_of(**fields: Any) -> Claim:
    values: dict[str, Any] = {
        "id": UUID(int=1), "tenant_id": UUID(int=2), "lane": UUID(int=3), "to_email": "ana@example.com",
        "to_name": None,
        "template": "welcome", "locale": None, "variables": "{}", "secret_variables": None, "message_id": "<1@x>",
        "job_id": None, "traceparent": None, "attempts": 0, "lost_claims": 1, "fence": 1, "created_at": NOW,
    }  # fmt: skip
    return Claim(**values | fields)


@given(MOMENTS, MOMENTS)
def test_ids_sort_by_the_moment_of_their_making(one: datetime, other: datetime) -> None:
    made = new_id(one)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert first_id_at(one) <= made
    if int(one.timestamp() * 1000) < int(other.timestamp() * 1000):
        assert made < first_id_at(other) <= new_id(other)


@given(st.uuids())
def test_a_cursor_comes_back_as_the_id(last: UUID) -> None:
    assert read_cursor(cursor_after(last)) == last


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+11:50", "0250-03-14T22:44:06.59-11:50", "1969-12-31T23:59:59Z"])
def test_a_time_before_every_id_finds_them_all(text: str) -> None:
    assert first_id_at(datetime.fromisoformat(text)) <= new_id(datetime(1970, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-11:50"])
def test_a_time_after_every_id_has_one_too(text: str) -> None:
    assert first_id_at(datetime.fromisoformat(text)) > new_id(datetime.now(UTC))


@pytest.mark.parametrize("forged", ["", "x", "ä" * 22, "A" * 23, "A" * 21 + "B", "AAAAAAAAAAAAAAAAAAAAAA==", "*" * 22])
def test_a_forged_cursor_is_refused(forged: str) -> None:
    with pytest.raises(Invalid):
        read_cursor(forged)


def test_a_deferral_ends_after_a_day() -> None:
    late = claim_of(created_at=NOW - timedelta(hours=24, seconds=1))
    ending = emails.deferred(late, "greylisted", code=451, now=NOW, draw=0.5)
    assert (ending.status, ending.smtp_code, ending.attempted) == (Status.FAILED, 451, True)
    assert "greylisted" in str(ending.reason)


@given(st.integers(0, 1000), st.floats(0, 1, exclude_max=True), st.integers(0, 24 * 3600 - 10))
def test_a_deferral_waits_within_its_day(attempts: int, draw: float, age_s: int) -> None:
    claim = claim_of(attempts=attempts, created_at=NOW - timedelta(seconds=age_s))
    ending = emails.deferred(claim, "later", code=450, now=NOW, draw=draw)
    assert ending.status is Status.DEFERRED
    assert ending.retry_after_s is not None
    assert 0 < ending.retry_after_s <= min(7200, 24 * 3600 - age_s)


@pytest.mark.parametrize(
    "fields",
    [
        {"status": Status.QUEUED},
        {"status": Status.SENDING, "reason": "x"},
        {"status": Status.DEFERRED, "reason": "x"},
        {"status": Status.FAILED, "reason": "x", "retry_after_s": 5},
        {"status": Status.FAILED},
        {"status": Status.SENT, "reason": "x"},
        {"status": Status.BOUNCED, "reason": "x"},
    ],
)
def test_an_ending_that_the_table_would_refuse_is_not_made(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Ending(**fields)


@pytest.mark.parametrize(
    ("ending", "name", "attempts"),
    [
        (emails.SENT, "mailer.email.sent.v1", 1),
        (emails.bounced(550, "no", suppress=True), "mailer.email.bounced.v1", 1),
        (emails.failed("no template"), "mailer.email.failed.v1", 0),
        (emails.suppressed("manual"), "mailer.email.suppressed.v1", 0),
        (emails.deferred(claim_of(), "later", code=None, now=NOW, draw=0.0), "mailer.email.deferred.v1", 1),
    ],
)
def test_each_ending_has_its_event(ending: Ending, name: str, attempts: int) -> None:
    event = emails.event_of(claim_of(), ending, now=NOW)
    assert event_type(event) == name
    assert event.attempts == attempts
    assert b"ana@example.com" not in msgspec.json.encode(event)


def test_a_lane_opens_by_success_and_closes_by_failure() -> None:
    lane = Lane()
    assert lane.room(0) == FIRST_WINDOW
    for _ in range(10):
        lane.answered()
    assert lane.room(0) == WIDEST_WINDOW
    lane.was_unreachable(0)
    lane.was_unreachable(0.1)  # one of those that were under way together
    assert lane.failures == 1
    assert lane.room(0.5) == 0
    lane.was_unreachable(1.5)
    assert (lane.window, lane.room(2.0), lane.room(9.0)) == (1, 0, 1)
    for n in range(20):
        lane.was_unreachable(1000.0 * (n + 1))
    assert lane.paused_until_s - 20_000 == LONGEST_PAUSE_S
    lane.answered()
    assert (lane.failures, lane.room(20_000.0)) == (0, 2)


def test_a_lane_starts_mails_in_groups() -> None:
    lane = Lane(window=64, under_way=50)
    assert lane.room(0) == 0
    lane.under_way = 48
    assert lane.room(0) == 16


def choice(owner: UUID, locale: str) -> TemplateChoice:
    return TemplateChoice(id=uuid4(), tenant_id=owner, slug="welcome", locale=locale, version=locale, variables=[])


def test_the_tenants_template_comes_first_then_the_platforms() -> None:
    tenant = UUID(int=5)
    own_en, own_pt = choice(tenant, "en"), choice(tenant, "pt-BR")
    shared_en, shared_pt = choice(PLATFORM_TENANT_ID, "en"), choice(PLATFORM_TENANT_ID, "pt-BR")
    everything = TemplateIndex([own_en, own_pt, shared_en, shared_pt], "pt-BR")
    assert everything.choose(tenant, "welcome", "en") is own_en
    assert everything.choose(tenant, "welcome", None) is own_pt
    assert everything.choose(tenant, "welcome", "fr") is own_pt
    assert everything.choose(UUID(int=6), "welcome", "en") is shared_en
    assert everything.choose(tenant, "other", "en") is None
    assert TemplateIndex([own_en, shared_pt], "pt-BR").choose(tenant, "welcome", "fr") is shared_pt
    assert TemplateIndex([own_en], "pt-BR").choose(tenant, "welcome", "fr") is None


INTERNAL = [
    "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "::1", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "localhost", "localhost.",
    "LOCALHOST", "postgres", "db.internal", "printer.local", "x.localhost",
]  # fmt: skip
NONSENSE = [
    "0x7f.1", "2130706433", "127.1", "0177.0.0.1", "0", "user@host.com", "http://host.com", "host com", "host\r\n.com",
    "-a.com", "a..com", "a" * 64 + ".com", "host.com:25", "１２７.0.0.1", "",
]  # fmt: skip


@pytest.mark.parametrize("host", INTERNAL)
def test_an_internal_host_is_for_operators_only(host: str) -> None:
    check_smtp_host(host, allow_private=True)
    with pytest.raises(Invalid):
        check_smtp_host(host, allow_private=False)


@pytest.mark.parametrize("host", NONSENSE)
def test_what_is_no_host_is_for_nobody(host: str) -> None:
    with pytest.raises(Invalid):
        check_smtp_host(host, allow_private=True)


@pytest.mark.parametrize("host", ["smtp.example.com", "8.8.8.8", "2606:4700:4700::1111", "mail-1.example.com.br"])
def test_a_public_host_is_fine(host: str) -> None:
    check_smtp_host(host, allow_private=False)


def stored(**fields: Any) -> EmailSettings:
    values: dict[str, Any] = {
        "id": UUID(int=1), "tenant_id": UUID(int=2), "provider": "smtp", "smtp_host": "smtp.example.com",
        "smtp_port": 587, "smtp_user": "u", "smtp_pass": b"sealed", "smtp_secure": False, "sender_name": None,
        "sender_email": "a@example.com", "amqp_url": None, "is_active": True, "created_at": NOW, "updated_at": NOW,
    }  # fmt: skip
    return EmailSettings(**values | fields)


@pytest.mark.parametrize("password", [MASK, UNSET])
@pytest.mark.parametrize("moved", [{"smtp_host": "evil.example.com"}, {"smtp_port": 25}, {"smtp_user": "other"}])
def test_a_stored_password_does_not_follow_to_another_server(password: Any, moved: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="smtp_pass"):
        apply(SettingsChange(smtp_pass=password, **moved), stored(), allow_private_smtp=False, now=NOW)
    apply(SettingsChange(smtp_pass="new", **moved), stored(), allow_private_smtp=False, now=NOW)
    apply(SettingsChange(smtp_pass=password, **moved), stored(smtp_pass=None), allow_private_smtp=False, now=NOW)


def test_a_change_is_checked() -> None:
    with pytest.raises(Invalid, match="sender_email"):
        apply(SettingsChange(sender_email="a@b@c"), stored(), allow_private_smtp=False, now=NOW)
    with pytest.raises(Invalid, match="smtp_user"):
        apply(SettingsChange(smtp_user=None, smtp_pass="x"), stored(), allow_private_smtp=False, now=NOW)
    changed = apply(SettingsChange(sender_name="Loja"), stored(), allow_private_smtp=False, now=NOW)
    assert changed == stored(sender_name="Loja")
