"""Forty notices in BACEN's shape (B14): a transfer is credited once, by what its provider says, or by nobody."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import pytest_asyncio

from billing import store
from billing.domain.payments import Payment
from billing.domain.pix_notices import read_pix_notices, read_pix_transfer
from billing.domain.provider_events import ProviderEvent, ProviderEventStatus
from billing.domain.providers import PaymentStatus as P
from billing.domain.providers import Provider, ProviderUnavailable
from chassis.db import platform_transaction, transaction
from chassis.secrets import SecretBox
from chassis.settings import Secret
from contracts.errors import Malformed
from testkit.fake_http import Fault
from testkit.service import RunningService

from .deliveries import ENVIRONMENT, PIX_SECRET, pix_body, pix_headers, pix_transfer
from .shop import Shop, a_shop

Start = Callable[..., Awaitable[RunningService]]
S = ProviderEventStatus


class Bank:
    """Whoever sends notices to billing, and what billing does about them."""

    def __init__(self, billing: RunningService, shop: Shop) -> None:
        self.billing, self.shop = billing, shop

    async def send(self, body: bytes, headers: dict[str, Any] | None = None) -> int:
        answer = await self.billing.call(
            "POST", "/pix/webhook/pix", None, kind="webhook", content=body, headers=headers or pix_headers()
        )
        assert answer.status_code < 500
        return answer.status_code

    async def tell(self, *transfers: dict[str, Any]) -> list[ProviderEvent]:
        """The transfers, taken and dealt with: what came of each, in their order."""
        assert await self.send(pix_body(*transfers)) == 200
        return await self.deal_with_all()

    async def deal_with_all(self) -> list[ProviderEvent]:
        async with platform_transaction(self.shop.db) as conn:
            rows = await conn.fetch("SELECT id FROM provider_events WHERE status = 'received' ORDER BY id")
        return [await self.shop.deal_with(row["id"]) for row in rows]

    async def charge(self, provider: Provider = Provider.ASAAS, *, paid: bool = True, **fields: Any) -> Payment:
        payment = await self.shop.charge(provider, **fields)
        if paid:
            fakes: dict[Provider, Any] = {
                Provider.STRIPE: self.shop.stripe.pay_pix,
                Provider.ASAAS: self.shop.asaas.pay,
                Provider.PAGBANK: self.shop.pagbank.pay,
            }
            fakes[provider](str(payment.external_id))
        return payment

    async def now(self, payment: Payment) -> Payment:
        async with transaction(self.shop.db, payment.tenant_id) as conn:
            return await store.payments.get_payment(conn, payment.tenant_id, payment.id)

    async def received(self) -> int:
        """How often a payment was told of as received."""
        query = "SELECT count(*) FROM outbox WHERE type = 'billing.payment.received.v1'"
        return int(await self.shop.db.relay.fetchval(query))


@pytest_asyncio.fixture
async def bank(start: Start) -> AsyncIterator[Bank]:
    billing = await start(ROLE="api", **ENVIRONMENT)
    async with a_shop(billing.db, SecretBox(Secret("a-key-of-the-tests-that-is-long-enough"))) as shop:
        yield Bank(billing, shop)


def of(payment: Payment, **fields: Any) -> dict[str, Any]:
    assert payment.txid is not None
    return pix_transfer(payment.txid, **fields)


async def test_whoever_does_not_know_the_secret_is_refused(bank: Bank) -> None:
    payment = await bank.charge()
    body = pix_body(of(payment))
    refused: list[dict[str, Any]] = [
        {"content-type": "application/json"},
        pix_headers(""),
        pix_headers(" "),
        pix_headers("wrong"),
        pix_headers(PIX_SECRET[:-1]),
        pix_headers(PIX_SECRET + "x"),
        pix_headers(PIX_SECRET.upper()),
        {"x-webhook-secret": "é".encode()},
        {"authorization": f"Bearer {PIX_SECRET}"},
        {"x-webhook-token": PIX_SECRET},
    ]
    assert [await bank.send(body, headers) for headers in refused] == [401] * len(refused)
    assert await bank.deal_with_all() == []
    assert (await bank.now(payment)).status is P.PENDING


async def test_without_a_secret_configured_nobody_is_taken(start: Start) -> None:
    billing = await start(ROLE="api", **{name: value for name, value in ENVIRONMENT.items() if "PIX" not in name})
    for secret in ("", "None", PIX_SECRET):
        answer = await billing.call("POST", "/pix/webhook", None, content=pix_body(), headers=pix_headers(secret))
        assert answer.status_code == 401


UNREADABLE: dict[str, bytes] = {
    "empty": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "no pix": b"{}",
    "pix is an object": b'{"pix":{}}',
    "pix is null": b'{"pix":null}',
    "nested without end": b'{"pix":' + b"[" * 100_000,
    "too many": msgspec.json.encode({"pix": [{}] * 1001}),
}


async def test_what_cannot_be_read_is_refused(bank: Bank) -> None:
    answers = {case: await bank.send(body) for case, body in UNREADABLE.items()}
    assert {case: status for case, status in answers.items() if status != 400} == {}
    assert await bank.deal_with_all() == []


PARTS: dict[str, Any] = {
    "no id": {"txid": "a", "valor": "1.00"},
    "a short id": pix_transfer("a", endToEndId="E1"),
    "a long id": pix_transfer("a", endToEndId="E" * 33),
    "an id with a path": pix_transfer("a", endToEndId="../" + "E" * 29),
    "an id with a line": pix_transfer("a", endToEndId="E" * 32 + "\n"),
    "no txid": {key: value for key, value in pix_transfer("a").items() if key != "txid"},
    "a txid with SQL": pix_transfer("a' OR '1'='1"),
    "a txid with a NUL": pix_transfer("a\x00"),
    "a txid of stars": pix_transfer("***"),
    "a negative amount": pix_transfer("a", valor="-1.00"),
    "an amount in words": pix_transfer("a", valor="um"),
    "an amount with a comma": pix_transfer("a", valor="1,00"),
    "an amount of one decimal": pix_transfer("a", valor="1.0"),
    "an amount without end": pix_transfer("a", valor="9" * 400 + ".00"),
    "an amount that is a number": pix_transfer("a", valor=1.5),
    "a return without a state": pix_transfer("a", devolucoes=[{"id": "D1"}]),
    "text": "pix",
    "null": None,
}


async def test_a_part_that_cannot_be_read_is_for_a_person(bank: Bank) -> None:
    events = await bank.tell(*PARTS.values())
    assert [event.status for event in events] == [S.REVIEW] * len(PARTS)
    assert await bank.send(b'{"pix":["\xff"]}') == 200
    assert [event.status for event in await bank.deal_with_all()] == [S.REVIEW]
    assert await bank.received() == 0


@pytest.mark.parametrize("provider", list(Provider))
async def test_a_transfer_credits_its_payment_once(bank: Bank, provider: Provider) -> None:
    payment = await bank.charge(provider)
    known = await api_end_to_end(bank, payment)
    transfer = of(payment, **({"endToEndId": known} if known else {}))
    for _ in range(3):
        await bank.send(pix_body(transfer))
    [event] = await bank.deal_with_all()
    assert (event.status, event.tenant_id, event.deliveries) == (S.PROCESSED, payment.tenant_id, 3)
    paid = await bank.now(payment)
    assert (paid.status, paid.end_to_end_id) == (P.PAID, transfer["endToEndId"])
    assert await bank.received() == 1


async def api_end_to_end(bank: Bank, payment: Payment) -> str | None:
    """The transfer's id as the payment's provider has it, where it tells one."""
    api = await bank.shop.accounts.of_platform(payment.provider)
    return (await api.get_payment(str(payment.external_id))).end_to_end_id


async def test_a_notice_before_the_money_gives_nothing(bank: Bank) -> None:
    payment = await bank.charge(paid=False)
    [event] = await bank.tell(of(payment))
    assert (event.status, event.reason) == (S.IGNORED, "its provider has no money of it")
    before = await bank.now(payment)
    assert (before.status, before.end_to_end_id) == (P.PENDING, None)
    # The forged transfer's id must not keep out the true one.
    bank.shop.asaas.pay(str(payment.external_id))
    [event] = await bank.tell(of(payment))
    assert event.status is S.PROCESSED
    assert (await bank.now(payment)).status is P.PAID


async def test_a_txid_of_nobody_is_for_a_person(bank: Bank) -> None:
    await bank.charge()
    events = await bank.tell(pix_transfer("a" * 35), pix_transfer("nobody"))
    assert [(event.status, event.tenant_id) for event in events] == [(S.REVIEW, None)] * 2
    assert await bank.received() == 0


async def test_a_txid_at_two_providers_is_for_a_person(bank: Bank) -> None:
    one, other = await bank.charge(), await bank.charge(Provider.PAGBANK)
    await bank.shop.db.platform.execute(
        "UPDATE provider_objects SET external_id = $1 WHERE kind = 'txid' AND object_id = $2", one.txid, other.id
    )
    [event] = await bank.tell(of(one))
    assert event.status is S.REVIEW


async def test_a_transfer_that_was_anothers_is_for_a_person(bank: Bank) -> None:
    first, second = await bank.charge(), await bank.charge()
    transfer = of(first)
    await bank.tell(transfer)
    [event] = await bank.tell(of(second, endToEndId=transfer["endToEndId"]))
    assert (event.status, event.reason) == (S.REVIEW, "its transfer was credited to another payment")
    assert (await bank.now(first)).review_reason is None
    assert (await bank.now(second)).status is P.PENDING
    assert await bank.received() == 1


async def test_a_reused_transfer_leaves_what_was_credited_alone(bank: Bank) -> None:
    first, second = await bank.charge(), await bank.charge()
    transfer = of(first)
    await bank.tell(transfer)
    await bank.shop.deliver_asaas("PAYMENT_RECEIVED", str(second.external_id))
    credited = await bank.now(second)
    [event] = await bank.tell(of(second, endToEndId=transfer["endToEndId"]))
    assert event.status is S.REVIEW
    assert await bank.now(second) == credited


async def test_another_transfer_for_a_paid_payment_is_for_a_person(bank: Bank) -> None:
    payment = await bank.charge(Provider.PAGBANK)
    known = await api_end_to_end(bank, payment)
    assert known is not None
    [event] = await bank.tell(of(payment))
    assert (event.status, event.reason) == (S.REVIEW, "its provider has it paid by another transfer")
    assert (await bank.now(payment)).status is P.PENDING
    [event] = await bank.tell(of(payment, endToEndId=known))
    assert event.status is S.PROCESSED


@pytest.mark.parametrize("valor", ["0.01", "246.99", "247.01", "2470.00"])
async def test_part_of_the_money_or_more_is_for_a_person(bank: Bank, valor: str) -> None:
    paid_in_part = await bank.charge(Provider.PAGBANK, paid=False)
    cents = int(valor.replace(".", ""))
    bank.shop.pagbank.pay(str(paid_in_part.external_id), amount_cents=cents)
    known = await api_end_to_end(bank, paid_in_part)
    [event] = await bank.tell(of(paid_in_part, valor=valor, endToEndId=known))
    assert event.status is S.REVIEW
    kept = await bank.now(paid_in_part)
    assert (kept.status, bool(kept.review_reason)) == (P.PENDING, True)
    # And a notice that says another amount than the provider has: the provider counts, a person hears of it.
    whole = await bank.charge()
    [event] = await bank.tell(of(whole, valor=valor))
    assert (event.status, str(cents) in str(event.reason)) == (S.REVIEW, True)
    assert (await bank.now(whole)).status is P.PAID


async def test_a_return_may_be_told_of_first(bank: Bank) -> None:
    payment = await bank.charge()
    bank.shop.asaas.refund(str(payment.external_id))
    back = {"id": "D1", "rtrId": "D" * 32, "valor": "247.00", "status": "DEVOLVIDO"}
    events = await bank.tell(of(payment, devolucoes=[back]))
    assert {event.type for event in events} == {"pix.received", "pix.returned"}
    assert [event.status for event in events] == [S.PROCESSED, S.PROCESSED]
    assert (await bank.now(payment)).status is P.REFUNDED
    assert await bank.received() == 1


async def test_each_step_of_a_return_is_news_and_what_the_provider_has_counts(bank: Bank) -> None:
    payment = await bank.charge()
    transfer = of(payment)
    assert [event.status for event in await bank.tell(transfer)] == [S.PROCESSED]
    for state, seen in (("EM_PROCESSAMENTO", 1), ("NAO_REALIZADO", 1), ("NAO_REALIZADO", 0), ("DEVOLVIDO", 1)):
        events = await bank.tell(transfer | {"devolucoes": [{"id": "D1", "status": state}]})
        assert len(events) == seen
    assert (await bank.now(payment)).status is P.PAID


async def test_a_return_that_the_payers_bank_does_not_take_is_noticed(bank: Bank) -> None:
    payment = await bank.charge()
    transfer = of(payment)
    await bank.tell(transfer)
    bank.shop.asaas.refund(str(payment.external_id))
    await bank.tell(transfer | {"devolucoes": [{"id": "D1", "status": "DEVOLVIDO"}]})
    assert (await bank.now(payment)).status is P.REFUNDED
    bank.shop.asaas.fail_refunds(str(payment.external_id))
    events = await bank.tell(transfer | {"devolucoes": [{"id": "D1", "status": "NAO_REALIZADO"}]})
    assert [event.status for event in events] == [S.PROCESSED]
    assert (await bank.now(payment)).status is P.PAID


async def test_many_in_one_body_are_each_their_own(bank: Bank) -> None:
    payments = [await bank.charge() for _ in range(5)]
    transfers = [of(payment) for payment in payments]
    events = await bank.tell(*transfers, pix_transfer("nobody"), *transfers)
    assert [event.status for event in events].count(S.PROCESSED) == 5
    assert [event.status for event in events].count(S.REVIEW) == 1
    assert [(await bank.now(payment)).status for payment in payments] == [P.PAID] * 5
    assert await bank.received() == 5


@pytest.mark.parametrize(
    ("horario", "utc"),
    [
        ("2026-05-04T09:00:00-03:00", "2026-05-04T12:00:00+00:00"),
        ("2026-05-04T12:00:00.123Z", "2026-05-04T12:00:00.123000+00:00"),
        ("2026-05-04T09:00:00", "2026-05-04T12:00:00+00:00"),
        ("ontem", None),
        ("9999-12-31T23:59:59-03:00", None),
        (None, None),
    ],
)
def test_times_are_utc(horario: str | None, utc: str | None) -> None:
    [(notice, part)] = read_pix_notices(pix_body(pix_transfer("a", horario=horario)))
    assert (notice.occurred_at.isoformat() if notice.occurred_at else None) == utc
    transfer = read_pix_transfer(part)
    assert transfer is not None
    assert (transfer.at, transfer.amount_cents) == (notice.occurred_at, 24700)


async def test_an_expired_charge_that_was_paid_counts(bank: Bank) -> None:
    payment = await bank.charge(Provider.STRIPE, paid=False)
    bank.shop.stripe.expire_pix(str(payment.external_id))
    await bank.shop.deliver(bank.shop.stripe.events[-1])
    assert (await bank.now(payment)).status is P.CANCELLED
    [event] = await bank.tell(of(payment))
    assert event.status is S.IGNORED
    bank.shop.stripe.world.get("payment_intent", str(payment.external_id))["status"] = "requires_action"
    bank.shop.stripe.pay_pix(str(payment.external_id))
    known = await api_end_to_end(bank, payment)
    [event] = await bank.tell(of(payment, **({"endToEndId": known} if known else {})))
    assert event.status is S.PROCESSED
    assert (await bank.now(payment)).status is P.PAID


async def test_another_tenants_txid_credits_that_tenant_only(bank: Bank) -> None:
    mine, theirs = await bank.charge(paid=False), await bank.charge()
    [event] = await bank.tell(of(theirs) | {"tenantId": str(mine.tenant_id)})
    assert event.tenant_id == theirs.tenant_id
    assert (await bank.now(mine)).status is P.PENDING
    assert (await bank.now(theirs)).status is P.PAID


async def test_a_charge_that_its_provider_has_lost_is_left(bank: Bank) -> None:
    payment = await bank.charge()
    del bank.shop.asaas.world.payments[str(payment.external_id)]
    [event] = await bank.tell(of(payment))
    assert event.status is S.IGNORED
    async with transaction(bank.shop.db, payment.tenant_id) as conn:
        await conn.execute("UPDATE payments SET external_id = NULL")
    [event] = await bank.tell(of(payment))
    assert (event.status, event.reason) == (S.IGNORED, "the payment is not at its provider yet")


async def test_a_provider_that_is_away_is_asked_again(bank: Bank) -> None:
    payment = await bank.charge()
    assert await bank.send(pix_body(of(payment))) == 200
    bank.shop.asaas.server.faults = [Fault.FAIL_500]
    async with platform_transaction(bank.shop.db) as conn:
        event_id = await conn.fetchval("SELECT id FROM provider_events")
    with pytest.raises(ProviderUnavailable):
        await bank.shop.deal_with(event_id)
    assert (await bank.shop.event(event_id)).status is S.RECEIVED
    assert (await bank.shop.deal_with(event_id)).status is S.PROCESSED


async def test_fifty_at_once_credit_once(bank: Bank) -> None:
    payment = await bank.charge()
    transfer = of(payment)
    answers = await asyncio.gather(*(bank.send(pix_body(transfer)) for _ in range(50)))
    assert set(answers) == {200}
    assert [event.status for event in await bank.deal_with_all()] == [S.PROCESSED]
    assert await bank.received() == 1


async def test_the_notice_and_the_providers_own_webhook_credit_once(bank: Bank) -> None:
    payment = await bank.charge()
    await bank.shop.deliver_asaas("PAYMENT_RECEIVED", str(payment.external_id))
    transfer = of(payment)
    [event] = await bank.tell(transfer)
    assert event.status is S.PROCESSED
    paid = await bank.now(payment)
    assert (paid.status, paid.end_to_end_id) == (P.PAID, transfer["endToEndId"])
    assert await bank.received() == 1


def test_a_body_of_a_thousand_is_read() -> None:
    transfers = [pix_transfer(uuid4().hex) for _ in range(1000)]
    assert len(read_pix_notices(pix_body(*transfers))) == 1000
    with pytest.raises(Malformed):
        read_pix_notices(pix_body(*transfers, pix_transfer("a")))
