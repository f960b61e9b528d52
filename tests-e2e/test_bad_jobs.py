"""B20: whatever is published to mail_queue, the consumer lives on: it is a mail, or a dead letter with its reason."""

import json
import os
import uuid
from typing import Any

import aio_pika
import pytest
from faults.load import QUEUE, Job, publish
from faults.rig import Rig
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: The bar is 2,000 by option; this many in a usual run.
MUTATIONS = int(os.environ.get("AMQP_MUTATIONS") or 400)

text = st.text(max_size=40)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
FIELDS = (
    "to", "email", "recipient", "template", "template_slug", "slug", "variables", "data", "context", "vars",
    "tenant_id", "tenantId", "locale", "idempotency_key",
)  # fmt: skip
#: Addresses that no test's mail may reach, so that effects are seen.
recipients = st.sampled_from(
    [
        "x@b20.example.org",
        "x@b20.example.org\r\nBcc: y@b20.example.org",
        "x@b20.example.org, y@b20.example.org",
        "x\x00@b20.example.org",
        '"x y"@b20.example.org',
        "@a,@b:x@b20.example.org",
        "",
        "x" * 400 + "@b20.example.org",
    ]
)
jobs = st.fixed_dictionaries(
    {
        "template": st.just(f"absent-{uuid.uuid4().hex}") | plain,
        "to": recipients | plain | st.lists(recipients, max_size=3),
    },
    optional={name: plain for name in FIELDS if name not in ("to", "template")},
)
bodies = st.one_of(
    jobs.map(lambda job: json.dumps(job).encode("utf-8", "surrogatepass")),
    plain.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")),
    st.binary(max_size=200),
    st.integers(1, 2000).map(lambda depth: b"[" * depth + b"]" * depth),
    st.integers(1, 200_000).map(lambda size: json.dumps({"to": "x@b20.example.org", "template": "x" * size}).encode()),
    st.just(b'{"to": "x@b20.example.org", "template": "a", "template": "b", "to": NaN}'),
    st.just(b""),
)
headers = st.dictionaries(
    st.sampled_from(["x-attempts", "x-death", "x-delivery-count", "traceparent", "x-reason", "tenant_id", "retry"])
    | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20),
    st.integers(-(2**31), 2**31 - 1) | text | st.booleans() | st.lists(st.integers(0, 9), max_size=3),
    max_size=4,
)
properties = st.fixed_dictionaries(
    {},
    optional={
        "content_type": st.sampled_from(["application/json", "text/plain", "application/x-protobuf", ""]),
        "content_encoding": st.sampled_from(["gzip", "utf-16", ""]),
        "reply_to": st.sampled_from(["mail_queue", "mailer.dead", "amq.gen-nobody"]),
        "correlation_id": text.filter(lambda value: len(value.encode()) < 200),
        "type": st.sampled_from(["mailer.email.sent.v1", "nobody.knows.v9", "mail"]),
        "app_id": st.sampled_from(["gateway", "billing", "core"]),
        "priority": st.integers(0, 9),
    },
)


def _mutations(count: int) -> list[tuple[bytes, dict[str, Any], dict[str, Any]]]:
    """A seeded draw of messages: the same in every run, so that a red one is repeated."""
    drawn: list[tuple[bytes, dict[str, Any], dict[str, Any]]] = []

    @settings(
        max_examples=count,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(bodies, headers, properties)
    def draw(body: bytes, some: dict[str, Any], others: dict[str, Any]) -> None:
        drawn.append((body, some, others))

    draw()
    return drawn


async def test_no_message_kills_the_consumer(rig: Rig) -> None:
    await rig.calm()
    exits = len(rig.mailer.exits)
    letters_before = await _dead_letters(rig)
    mails_before = await _mails(rig)
    mutations = _mutations(MUTATIONS)
    assert len(mutations) >= MUTATIONS * 0.9
    published = 0
    connection = await aio_pika.connect(rig.broker.url)
    async with connection:
        channel = await connection.channel()
        for body, some, others in mutations:
            message = aio_pika.Message(
                body,
                message_id=uuid.uuid4().hex,
                headers=some,
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                **others,
            )
            await channel.default_exchange.publish(message, QUEUE)
            published += 1
        huge = aio_pika.Message(b'{"to": "' + b"x" * (16 * 1024 * 1024) + b'"}', message_id=uuid.uuid4().hex)
        await channel.default_exchange.publish(huge, QUEUE)
        published += 1

    good = Job(f"b20-{uuid.uuid4().hex}", str(rig.tenants[0]), f"{uuid.uuid4().hex}@good.example.org")
    await publish(rig.broker.url, [good], clients=1)
    await rig.arrivals({good.key}, timeout_s=60)
    assert await rig.settle(timeout_s=60) is not None, await rig.unfinished()
    assert rig.mailer.exits[exits:] == [], "a message killed the consumer"

    letters, mails = await _dead_letters(rig) - letters_before, await _mails(rig) - mails_before
    assert letters > 0
    # Each message is a dead letter, or a job that was understood: those name a template that does not exist.
    assert letters + mails >= published * 0.99
    states = await rig.database.fetch(
        "SELECT DISTINCT status FROM mailer.emails WHERE to_email LIKE '%b20.example.org'"
    )
    assert {row["status"] for row in states} <= {"failed"}
    assert not [one for one in rig.smtp.accepted if any("b20.example.org" in to for to in one.recipients)], "an effect"
    reasons = await rig.database.fetch("SELECT count(*) AS n FROM mailer.dead_letters WHERE reason = ''")
    assert reasons[0]["n"] == 0


async def _dead_letters(rig: Rig) -> int:
    rows = await rig.database.fetch("SELECT coalesce(sum(times), 0) AS n FROM mailer.dead_letters")
    return int(rows[0]["n"])


async def _mails(rig: Rig) -> int:
    rows = await rig.database.fetch("SELECT count(*) AS n FROM mailer.emails WHERE to_email LIKE '%b20.example.org'")
    return int(rows[0]["n"])
