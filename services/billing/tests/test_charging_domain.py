"""Amounts in reais, providers' own objects, and seed 002's event bodies: pure decisions of the payment gateway."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import store
from billing.api.payment_gateway.answers import answer, cents_of, reais_of
from billing.domain.brazil_days import day_in_brazil, end_of_day, start_of_day
from billing.domain.customers import SoldBy
from billing.domain.drafts import charge_invoice, payment_of
from billing.domain.nexus import nexus_event, type_of_failed, type_of_new
from billing.domain.provider_accounts import Environment, ProviderAccount, active_account, hint_of, is_masked
from billing.domain.providers import Method, Provider
from billing.domain.raw_objects import reference_in, shown, without_secrets
from chassis.db import Connection, Database, platform_transaction
from contracts.errors import Invalid, NotFound

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
PAYMENT = payment_of(
    charge_invoice(
        tenant_id=UUID(int=1),
        sold_by=SoldBy.TENANT,
        customer_id=UUID(int=2),
        description="Consulta",
        amount_cents=12345,
        currency="BRL",
        provider=Provider.ASAAS,
        account_id=UUID(int=3),
        due_at=NOW,
        now=NOW,
    ),
    method=Method.PIX,
    external_id="pay_1",
    reference="order-77",
    due_on=date(2026, 5, 7),
    now=NOW,
)


@given(st.integers(1, 1_000_000_000))
def test_reais_and_centavos_are_the_same_money(amount_cents: int) -> None:
    """As a JSON number, too, which is how it is read and written."""
    reais = reais_of(amount_cents)
    assert cents_of(reais) == amount_cents
    written = answer({"value": reais}).render({"value": reais}, "application/json")
    assert cents_of(msgspec.json.decode(written, type=dict[str, Decimal])["value"]) == amount_cents
    assert b'"' not in written.partition(b":")[2]


@given(st.decimals(allow_nan=True, allow_infinity=True))
def test_no_number_is_charged_that_is_no_amount(value: Decimal) -> None:
    try:
        amount_cents = cents_of(value)
    except Invalid:
        is_amount = value.is_finite() and 0 < value <= 10_000_000
        assert not is_amount or value * 100 != int(value * 100)
    else:
        assert 0 < amount_cents <= 1_000_000_000
        assert Decimal(amount_cents) == value * 100


@given(st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)))  # noqa: DTZ001 - made aware below
def test_days_are_sao_paulos(moment: datetime) -> None:
    aware = moment.replace(tzinfo=UTC)
    day = day_in_brazil(aware)
    assert start_of_day(day) <= aware
    assert aware - end_of_day(day) < timedelta(seconds=1)
    assert end_of_day(day) - start_of_day(day) == timedelta(seconds=86_399)


@given(st.text(max_size=60))
def test_what_is_shown_of_a_secret_means_unchanged_and_tells_little(secret: str) -> None:
    hint = hint_of(secret)
    assert is_masked(hint)
    assert len(hint) <= 8
    assert hint == "****" or len(secret) >= 16


def test_the_account_that_charges() -> None:
    def account(provider: Provider, environment: Environment, *, is_active: bool = True) -> ProviderAccount:
        return ProviderAccount(
            id=uuid4(), tenant_id=UUID(int=1), provider=provider, environment=environment, api_key=b"",
            api_key_hint="****", api_secret=None, webhook_secret=None, config={}, is_active=is_active, created_by="u",
            updated_by="u", created_at=NOW, updated_at=NOW,
        )  # fmt: skip

    sandbox = account(Provider.ASAAS, Environment.SANDBOX)
    production = account(Provider.ASAAS, Environment.PRODUCTION)
    off = account(Provider.ASAAS, Environment.PRODUCTION, is_active=False)
    assert active_account([sandbox, production], Provider.ASAAS) is production
    assert active_account([sandbox, off], Provider.ASAAS) is sandbox
    assert active_account([off], Provider.ASAAS) is None
    assert active_account([sandbox, production], Provider.PAGBANK) is None


def test_a_raw_object_shows_no_secret_at_any_depth() -> None:
    raw = {
        "id": "pay_1",
        "creditCard": {"creditCardNumber": "8829", "creditCardToken": "t"},
        "charges": [{"payment_method": {"card": {"encrypted": "e", "security_code": "1", "last_digits": "4"}}}],
        "accessToken": "a",
        "externalReference": str(PAYMENT.id),
    }
    assert without_secrets(raw) == {
        "id": "pay_1",
        "creditCard": {"creditCardNumber": "8829"},
        "charges": [{"payment_method": {"card": {"last_digits": "4"}}}],
        "externalReference": str(PAYMENT.id),
    }
    assert shown(raw, "order-77")["externalReference"] == "order-77"
    assert shown(raw, None)["externalReference"] is None
    assert "externalReference" not in shown({"id": "x"}, "order-77")


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ({"externalReference": str(PAYMENT.id)}, PAYMENT.id),
        ({"reference_id": str(PAYMENT.id)}, PAYMENT.id),
        ({"externalReference": "order-77"}, None),
        ({"externalReference": PAYMENT.id.hex}, None),  # a spelling that is not ours
        ({"externalReference": None}, None),
        ({}, None),
    ],
)
def test_whose_reference_an_object_bears(raw: dict[str, Any], found: UUID | None) -> None:
    assert reference_in(raw) == found


def test_what_is_said_of_a_charge() -> None:
    def with_raw(**raw: Any) -> Any:
        return msgspec.structs.replace(PAYMENT, raw=raw)

    assert type_of_new(PAYMENT) == "payment.pending"
    assert type_of_new(with_raw(status="PENDING")) == "payment.pending"
    assert type_of_new(with_raw(charges=[{"status": "AUTHORIZED"}])) == "payment.authorized"
    assert type_of_new(with_raw(charges=["odd"], status=7)) == "payment.pending"
    assert type_of_failed(msgspec.structs.replace(PAYMENT, failure_reason="overdue")) == "payment.overdue"
    assert type_of_failed(msgspec.structs.replace(PAYMENT, failure_reason="no funds")) == "payment.failed"
    authorized = nexus_event(with_raw(status="AUTHORIZED"), "payment.authorized", NOW)
    assert authorized.data == {
        "chargeId": str(PAYMENT.id),
        "gatewayChargeId": "pay_1",
        "gateway": "asaas",
        "value": Decimal("123.45"),
        "status": "AUTHORIZED",
    }
    failed = nexus_event(
        msgspec.structs.replace(
            PAYMENT,
            failure_reason="no funds",
            raw={"id": "pay_1", "externalReference": str(PAYMENT.id), "creditCard": {"creditCardToken": "t"}},
        ),
        "payment.failed",
        NOW,
    )
    assert failed.data == {
        "gatewayChargeId": "pay_1",
        "gateway": "asaas",
        "reason": "no funds",
        "payload": {"id": "pay_1", "externalReference": "order-77", "creditCard": {}},
    }


async def test_what_is_not_there(conn: Connection, db: Database, tenant: UUID) -> None:
    with pytest.raises(NotFound):
        await store.provider_accounts.delete_account(conn, tenant, "asaas", "sandbox")
    async with platform_transaction(db) as platform:
        assert await store.schedules.find_last_result(platform, "never ran") is None
