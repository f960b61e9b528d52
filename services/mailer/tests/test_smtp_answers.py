"""Answers mean what they say about the right party, and retries fill a day without marching in step."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.smtp_answers import GIVE_UP_AFTER, Meaning, Phase, judge, masked, next_try_at, shown_text

NOW = datetime(2024, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    ("phase", "code", "text", "meaning", "suppress"),
    [
        (Phase.RCPT, 250, "ok", Meaning.ACCEPTED, False),
        (Phase.RCPT, 251, "will forward", Meaning.ACCEPTED, False),
        (Phase.RCPT, 450, "4.2.0 greylisted", Meaning.DEFERRED, False),
        (Phase.RCPT, 550, "no such user", Meaning.BOUNCED, True),
        (Phase.RCPT, 550, "5.1.1 no such user", Meaning.BOUNCED, True),
        (Phase.RCPT, 550, "5.2.1 disabled", Meaning.BOUNCED, True),
        (Phase.RCPT, 552, "5.2.2 full", Meaning.BOUNCED, False),
        (Phase.RCPT, 550, "5.7.1 listed at a blocklist", Meaning.BOUNCED, False),
        (Phase.RCPT, 501, "bad address", Meaning.BOUNCED, True),
        (Phase.DATA, 554, "5.6.0 bad content", Meaning.BOUNCED, False),
        (Phase.DATA, 550, "refused", Meaning.BOUNCED, True),
        (Phase.MAIL, 553, "sender", Meaning.BOUNCED, False),
        (Phase.MAIL, 530, "log in first", Meaning.MISCONFIGURED, False),
        (Phase.RCPT, 530, "log in first", Meaning.MISCONFIGURED, False),
        (Phase.AUTH, 535, "wrong", Meaning.MISCONFIGURED, False),
        (Phase.AUTH, 454, "later", Meaning.MISCONFIGURED, False),
        (Phase.CONNECT, 421, "busy", Meaning.DEFERRED, False),
        (Phase.CONNECT, 554, "no mail here", Meaning.MISCONFIGURED, False),
        (Phase.DATA, 699, "?", Meaning.DEFERRED, False),
        (Phase.DATA, -1, "?", Meaning.DEFERRED, False),
    ],
)
def test_an_answer_is_judged_by_code_place_and_words(
    phase: Phase, code: int, text: str, meaning: Meaning, suppress: bool
) -> None:
    verdict = judge(phase, code, text)
    assert (verdict.meaning, verdict.suppress) == (meaning, suppress)


@given(st.sampled_from(Phase), st.integers(-10, 1000), st.text(max_size=40))
def test_only_a_permanent_refusal_suppresses(phase: Phase, code: int, text: str) -> None:
    verdict = judge(phase, code, text)
    assert not verdict.suppress or (verdict.meaning is Meaning.BOUNCED and 500 <= code < 600)
    assert not 400 <= code < 500 or verdict.meaning in (Meaning.DEFERRED, Meaning.MISCONFIGURED)


@given(st.integers(-5, 10_000), st.floats(0, 1, exclude_max=True), st.integers(0, 24 * 3600 - 1))
def test_the_next_try_is_soon_enough_and_within_the_day(attempts: int, draw: float, age_s: int) -> None:
    first_tried_at = NOW - timedelta(seconds=age_s)
    at = next_try_at(first_tried_at=first_tried_at, now=NOW, attempts=attempts, draw=draw)
    assert at is not None
    assert NOW < at <= min(first_tried_at + GIVE_UP_AFTER, NOW + timedelta(hours=2))


def test_a_day_of_deferrals_has_a_sane_number_of_tries_and_an_end() -> None:
    dice = random.Random(7)
    counts = []
    for _ in range(200):
        now, attempts = NOW, 0
        while True:
            attempts += 1
            at = next_try_at(first_tried_at=NOW, now=now, attempts=attempts, draw=dice.random())
            if at is None:
                break
            now = at
        assert now == NOW + GIVE_UP_AFTER
        counts.append(attempts)
    assert min(counts) > 15
    assert max(counts) < 80


def test_the_first_tries_of_many_mails_are_spread() -> None:
    tries = {next_try_at(first_tried_at=NOW, now=NOW, attempts=4, draw=index / 100) for index in range(100)}
    assert len(tries) > 95


def test_a_servers_words_are_fit_to_be_shown() -> None:
    assert shown_text("550 a\r\n\x1b[31mb\x00\u202e c\u2028d  e") == "550 a [31mb c d e"
    assert len(shown_text("x" * 100_000)) == 500


def test_nothing_hidden_is_left_of_a_servers_words() -> None:
    hidden = ("https://example.com/r/4711", "ana@example.com")
    assert masked("550 <Ana@Example.com>: no https://example.com/r/4711", hidden) == "550 <********>: no ********"
    long = shown_text("550 " + "x" * 480 + " https://example.com/r/4711")
    assert long.endswith(" https://example")
    assert masked(long, hidden) == "550 " + "x" * 480 + " "
