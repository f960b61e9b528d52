"""Records of the audit log say who did it and from where; what billing does by itself is nobody's."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from billing.domain.customers import SoldBy
from billing.domain.providers import Provider
from billing.usecases.close_tenant import close_tenant
from chassis.clock import utc_now
from chassis.db import transaction
from contracts.tenancy import PLATFORM_TENANT_ID
from testkit.fake_asaas.fake import API_KEY as ASAAS_KEY
from testkit.service import RunningService

from .records import a_customer, a_paid_invoice, a_payment, a_subscription, an_invoice

Start = Callable[..., Awaitable[RunningService]]
RECORDED = "billing.audit.recorded.v1"
CONFIG = "/payment-gateway/config"
NEAR = {"user-agent": "tests/1", "x-forwarded-for": "203.0.113.7"}
FROM = {"location": "203.0.113.7", "user_agent": "tests/1"}
NOWHERE = {"location": None, "user_agent": None}
ACCOUNT = {"gateway": "asaas", "environment": "sandbox", "apiKey": ASAAS_KEY, "webhookSecret": "w" * 32}
PLAN = {"slug": "pro", "name": "Pro", "prices": [{"interval": "month", "currency": "BRL", "amount_cents": 9900}]}


async def test_whatever_a_person_does_is_recorded_with_where_from(start: Start, tenant: UUID) -> None:
    """In the shape of WorkOS; address and agent belong to the person, by whose key the log seals them."""
    billing = await start(ROLE="api")
    now = datetime.now(UTC).replace(microsecond=0)
    async with transaction(billing.db, tenant) as conn:
        customer = await a_customer(conn, tenant, sold_by=SoldBy.TENANT)
        invoice = await an_invoice(conn, tenant, customer_id=customer.id, sold_by=SoldBy.TENANT)
        end = now + timedelta(days=15)
        ours = await a_subscription(conn, tenant, now=now - timedelta(days=15), current_period_end=end, renews_at=end)
        paid = await a_paid_invoice(conn, tenant, now=now, customer_id=customer.id, sold_by=SoldBy.TENANT)
        payment = await a_payment(conn, tenant, paid, now=now, provider=Provider.STRIPE)
    person = str(uuid4())
    cycle = f"/subscriptions/{ours.id}"
    deeds: list[tuple[str, str, Any, str, str]] = [
        ("POST", CONFIG, ACCOUNT, "user", "provider_account.saved"),
        ("DELETE", f"{CONFIG}/asaas/sandbox", None, "user", "provider_account.deleted"),
        ("POST", f"/invoices/{invoice.id}/void", None, "user", "invoice.voided"),
        ("POST", f"{cycle}/cancel", {}, "user", "subscription.cancelled"),
        ("POST", f"{cycle}/resume", None, "user", "subscription.resumed"),
        ("PATCH", cycle, {"cancel_at_period_end": True}, "user", "subscription.cancelled"),
        ("PATCH", cycle, {"cancel_at_period_end": False}, "user", "subscription.resumed"),
        ("POST", f"{cycle}/change-plan", {"plan": "profissional"}, "user", "subscription.plan_changed"),
        ("POST", f"/payments/{payment.id}/refund", {}, "user", "payment.refund_requested"),
        ("POST", "/plans", PLAN, "platform_admin", "plan.created"),
        ("PATCH", "/plans/pro", {"name": "Pro 2"}, "platform_admin", "plan.updated"),
        ("DELETE", "/plans/pro", None, "platform_admin", "plan.deleted"),
        ("POST", "/billing/reconcile", {"days": 1}, "platform_admin", "provider_accounts.reconciled"),
    ]
    for method, path, body, kind, action in deeds:
        options = {} if body is None else {"json": body}
        tenant_id = tenant if kind == "user" else None
        answer = await billing.call(method, path, tenant_id, kind=kind, subject=person, headers=NEAR, **options)
        # No provider is set up here: the wish for a refund is stored and recorded, and nobody can be asked for it.
        is_done = answer.status_code == 409 if action == "payment.refund_requested" else answer.is_success
        assert is_done, (path, answer.text)
    records = await billing.told(RECORDED)
    assert [record["action"] for record in records] == [action for *_, action in deeds]
    for record, (*_, kind, action) in zip(records, deeds, strict=True):
        assert record["actor"] == {"type": kind, "id": person, "name": None}, action
        assert (record["context"], record["subject_ref"]) == (FROM, person), action
        assert record["tenant_id"] == str(tenant if kind == "user" else PLATFORM_TENANT_ID), action


async def test_only_a_person_of_ours_is_whom_a_record_is_about(start: Start, tenant: UUID) -> None:
    billing = await start(ROLE="api")
    for kind, subject in (("api_key", str(uuid4())), ("user", "core-user-7")):
        saved = await billing.call("POST", CONFIG, tenant, kind=kind, subject=subject, headers=NEAR, json=ACCOUNT)
        assert saved.status_code == 200, saved.text
    records = await billing.told(RECORDED)
    assert [record["actor"]["type"] for record in records] == ["api_key", "user"]
    assert [(record["context"], record["subject_ref"]) for record in records] == [(FROM, None)] * 2


async def test_what_billing_does_by_itself_is_nobodys(start: Start, tenant: UUID) -> None:
    billing = await start(ROLE="api")
    async with transaction(billing.db, tenant) as conn:
        await a_subscription(conn, tenant, provider=Provider.ASAAS)
    accounts: Any = None  # no provider runs its cycle
    assert await close_tenant(billing.db, accounts, tenant, clock=utc_now) == 1
    [record] = await billing.told(RECORDED)
    assert record["actor"] == {"type": "service", "id": "billing", "name": None}
    assert (record["context"], record["subject_ref"]) == (NOWHERE, None)
