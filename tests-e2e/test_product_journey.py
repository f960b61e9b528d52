"""Someone pays, and without any human a tenant, an owner and a subscription exist; they set a password and sign in.

Over the real gateway, broker, database and SMTP; the payment providers are fakes that speak their protocols.
"""

import asyncio
import json
import re
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from faults.money import insist
from product import Product

pytestmark = pytest.mark.asyncio(loop_scope="session")

CPF = "52998224725"
WELCOME = "(?i)conta em .* pronta|account .* ready"
LINK = re.compile(r"https://app\.example\.com/[^\s\"<>]*token=([A-Za-z0-9_\-]+)")


def address() -> str:
    return f"{uuid.uuid4().hex[:12]}@buyer.example.org"


async def intent(product: Product, email: str, **fields: Any) -> dict[str, Any]:
    """Seed 002's checkout site opens a payment page."""
    async with product.client(**{"Idempotency-Key": uuid.uuid4().hex}) as client:
        body = {"planId": "profissional", "userEmail": email, "userName": "Ana Souza", **fields}
        answer = await insist(lambda: client.post("/api/payments/intent", json=body))
    assert answer is not None
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def paid_order(product: Product, order_id: str) -> dict[str, Any]:
    """The order's row, once it is paid."""

    async def paid() -> dict[str, Any] | None:
        rows = await product.rows("SELECT * FROM billing.orders WHERE id = $1", uuid.UUID(order_id))
        return rows[0] if rows and rows[0]["status"] == "paid" else None

    found: dict[str, Any] = await product.until(paid, f"order {order_id} paid")
    return found


async def first_sign_in(product: Product, email: str) -> tuple[str, dict[str, Any]]:
    """From the welcome mail's link to an access token and what the login answered."""
    (welcome,) = await product.mails(email, subject=WELCOME)
    body = welcome.get_body(("html", "plain"))
    assert body is not None
    found = LINK.search(body.get_content())
    assert found is not None, body.get_content()
    password = f"Uma senha boa {uuid.uuid4().hex[:6]}"
    async with product.client() as client:
        chosen = await client.post("/api/auth/reset-password", json={"token": found.group(1), "password": password})
        assert chosen.status_code == 200, chosen.text
        again = await client.post(
            "/api/auth/reset-password", json={"token": found.group(1), "password": password + "x"}
        )
        assert again.status_code in (400, 404, 410, 422), again.text
        answer = await client.post("/api/auth/login", json={"email": email, "password": password})
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    return data["accessToken"], data


async def exactly_one_of_each(product: Product, email: str) -> dict[str, Any]:
    """One tenant, one owner, one running subscription, one paid invoice for this buyer; the order's row."""
    orders = await product.rows("SELECT * FROM billing.orders WHERE buyer_email = $1", email)
    assert len(orders) == 1
    (order,) = orders
    tenant = order["tenant_id"]
    counts = await product.rows(
        """
        SELECT (SELECT count(*) FROM tenants.tenants WHERE tenant_id = $1 AND status = 'active') AS tenants,
               (SELECT count(*) FROM tenants.users WHERE email = $2) AS users,
               (SELECT count(*) FROM tenants.memberships WHERE tenant_id = $1 AND role = 'owner') AS owners,
               (SELECT count(*) FROM billing.subscriptions WHERE tenant_id = $1) AS subscriptions,
               (SELECT count(*) FROM billing.invoices WHERE tenant_id = $1 AND status = 'paid') AS invoices,
               (SELECT count(*) FROM billing.payments WHERE tenant_id = $1 AND status = 'paid') AS payments
        """,
        tenant,
        email,
    )
    assert counts == [{"tenants": 1, "users": 1, "owners": 1, "subscriptions": 1, "invoices": 1, "payments": 1}]
    return order


async def test_from_a_card_payment_to_the_first_sign_in(product: Product) -> None:
    """Seed 002's plan, end to end, with its webhook delivered many times over and out of order."""
    email = address()
    page = await intent(product, email, countryCode="US")
    assert page["provider"] == "stripe"
    product.stripe.sender.duplicates, product.stripe.sender.reverse = 2, True
    try:
        product.stripe.pay(page["sessionId"])
        order = await paid_order(product, page["orderId"])
    finally:
        product.stripe.sender.duplicates, product.stripe.sender.reverse = 0, False
    await product.at_rest()
    await exactly_one_of_each(product, email)
    tenant = str(order["tenant_id"])
    assert len(product.events("billing.order.paid.v1", order_id=page["orderId"])) == 1
    for kind in ("billing.invoice.paid.v1", "billing.payment.received.v1", "billing.subscription.created.v1"):
        assert len(product.events(kind, tenant_id=tenant)) == 1, kind
    assert len(product.events("tenants.tenant.created.v1", tenant_id=tenant)) == 1
    assert len(await product.mails(email, subject="(?i)recib|recebemos|receipt|pagamento")) == 1
    token, data = await first_sign_in(product, email)
    assert not {"password", "passwordHash", "password_hash", "refreshToken"} & data["user"].keys()
    async with product.client(token) as client:
        mine = (await client.get("/api/invoices")).json()["data"]
        assert [(row["status"], row["amount_cents"]) for row in mine] == [("paid", 58000)]
        me = (await client.get("/api/auth/me")).json()
        assert json.dumps(me).count(email) >= 1
        assert (await client.get("/api/subscriptions")).json()["data"][0]["status"] == "active"
        order_view = (await client.get(f"/api/orders/{page['orderId']}")).json()
        assert {"placed", "paid", "invoice_paid"} <= {entry["kind"] for entry in order_view["timeline"]}
        foreign = await client.get("/api/invoices", headers={"x-tenant-id": str(uuid.uuid4())})
        assert foreign.status_code == 403
    other, _ = await _another_owner(product)
    async with product.client(other) as client:
        assert all(row["id"] != mine[0]["id"] for row in (await client.get("/api/invoices")).json()["data"])
        assert (await client.get(f"/api/invoices/{mine[0]['id']}")).status_code == 404
        assert (await client.get(f"/api/orders/{page['orderId']}")).status_code == 404


async def _another_owner(product: Product) -> tuple[str, dict[str, Any]]:
    email = address()
    page = await intent(product, email, countryCode="PT")
    product.stripe.pay(page["sessionId"])
    await paid_order(product, page["orderId"])
    return await first_sign_in(product, email)


async def test_an_unpaid_session_gives_nothing_until_its_bank_says_so(product: Product) -> None:
    email = address()
    page = await intent(product, email, countryCode="US")
    product.stripe.pay(page["sessionId"], unpaid=True)
    await product.stripe.settle()
    await product.at_rest()
    (order,) = await product.rows("SELECT status FROM billing.orders WHERE buyer_email = $1", email)
    assert order["status"] == "pending"
    assert not await product.rows("SELECT 1 FROM tenants.users WHERE email = $1", email)
    product.stripe.settle_async(page["sessionId"])
    await paid_order(product, page["orderId"])
    await product.at_rest()
    await exactly_one_of_each(product, email)


async def test_a_brazilian_pays_by_asaas_and_by_pagbank(product: Product) -> None:
    """The two branches whose buyers never got an account in seed 002."""
    by_asaas, by_pagbank = address(), address()
    asaas = await intent(product, by_asaas, countryCode="BR", cpfCnpj=CPF)
    assert (asaas["provider"], bool(asaas["checkoutUrl"])) == ("asaas", True)
    (payment,) = product.asaas.payments_of(asaas["orderId"])
    product.asaas.pay(payment["id"])
    pagbank = await intent(product, by_pagbank)
    assert pagbank["provider"] == "pagseguro"
    product.pagbank.pay_checkout(pagbank["checkoutCode"])
    for page, email in ((asaas, by_asaas), (pagbank, by_pagbank)):
        await paid_order(product, page["orderId"])
        await product.at_rest()
        await exactly_one_of_each(product, email)
        await first_sign_in(product, email)


async def test_pix_over_each_provider(product: Product) -> None:
    """Seed 003's POST /pix/create: a code that a bank reads, a webhook, a paid invoice, our `pix.received`."""
    for provider in ("stripe", "asaas", "pagbank"):
        token = product.made.tenant_token(uuid.uuid4(), role="owner")  # as the Go core signs it
        async with product.client(token) as client:
            body = {
                "plan": "essencial",
                "provider": provider,
                "payer": {"name": "Ana Souza", "email": address(), "tax_id": CPF},
            }
            answer = await client.post("/api/pix/create", json=body)
            assert answer.status_code == 201, answer.text
            code = answer.json()
            assert code["copia_e_cola"].startswith("000201")
            (payment,) = await product.rows(
                "SELECT external_id FROM billing.payments WHERE id = $1", uuid.UUID(code["payment_id"])
            )
            match provider:
                case "stripe":
                    product.stripe.pay_pix(payment["external_id"])
                case "asaas":
                    product.asaas.pay(payment["external_id"])
                case _:
                    product.pagbank.pay(payment["external_id"])

            async def received(payment_id: str = code["payment_id"]) -> bool:
                return len(product.events("billing.pix.received.v1", payment_id=payment_id)) == 1

            await product.until(received, f"pix.received over {provider}")
            shown = await client.get(f"/api/pix/{code['txid']}")
            assert shown.json()["status"] == "paid", shown.text
            assert (await client.get(f"/api/invoices/{code['invoice_id']}")).json()["status"] == "paid"


async def test_renewals_failures_refund_dispute_and_change_of_plan(product: Product) -> None:
    """A subscription's life: each step is one event, and the rows say what the provider says."""
    email = address()
    page = await intent(product, email, countryCode="US")
    product.stripe.pay(page["sessionId"])
    order = await paid_order(product, page["orderId"])
    tenant = order["tenant_id"]
    token, _ = await first_sign_in(product, email)
    (row,) = await product.rows("SELECT id, external_id FROM billing.subscriptions WHERE tenant_id = $1", tenant)

    async def status(wanted: str) -> None:
        async def reached() -> bool:
            (now,) = await product.rows("SELECT status FROM billing.subscriptions WHERE id = $1", row["id"])
            return bool(now["status"] == wanted)

        await product.until(reached, f"subscription {wanted}")

    product.stripe.renew(row["external_id"])

    async def renewed() -> bool:
        return (
            len(await product.rows("SELECT 1 FROM billing.invoices WHERE tenant_id = $1 AND status = 'paid'", tenant))
            == 2
        )

    await product.until(renewed, "the renewal's invoice")
    invoice = product.stripe.fail_renewal(row["external_id"])
    await status("past_due")
    await product.mails(email, subject="(?i)falh|fail|não|nao")
    product.stripe.retry_invoice(invoice["id"])
    await status("active")
    async with product.client(token, **{"Idempotency-Key": uuid.uuid4().hex}) as client:
        changed = await client.post(
            f"/api/subscriptions/{row['id']}/change-plan", json={"plan": "empresarial", "when": "now"}
        )
        assert changed.status_code == 200, changed.text
        assert changed.json()["plan_slug"] == "empresarial"
        payments = (await client.get("/api/payments?status=paid")).json()["data"]
        body = {"amount_cents": 1000}
        refund = await client.post(f"/api/payments/{payments[-1]['id']}/refund", json=body)
        assert refund.status_code == 403  # what the platform sold, the platform gives back
    operator = {"x-tenant-id": str(tenant), "Idempotency-Key": uuid.uuid4().hex}
    async with product.client(product.made.platform_token(), **operator) as client:
        refund = await client.post(f"/api/payments/{payments[-1]['id']}/refund", json=body)
        assert refund.status_code in (200, 201), refund.text
        again = await client.post(f"/api/payments/{payments[-1]['id']}/refund", json=body)
        assert (again.status_code, again.json()["id"]) == (refund.status_code, refund.json()["id"])

    async def refunded() -> bool:
        return len(product.events("billing.payment.refunded.v1", tenant_id=str(tenant))) == 1

    await product.until(refunded, "the refund's event")
    (disputed,) = await product.rows(
        "SELECT external_id FROM billing.payments WHERE tenant_id = $1 AND status = 'paid' ORDER BY id LIMIT 1", tenant
    )
    product.stripe.dispute(disputed["external_id"])

    async def in_dispute() -> bool:
        return len(product.events("billing.payment.disputed.v1", tenant_id=str(tenant))) == 1

    await product.until(in_dispute, "the dispute's event")
    product.stripe.cancel(row["external_id"])
    await status("cancelled")
    assert len(product.events("billing.subscription.cancelled.v1", subscription_id=str(row["id"]))) == 1


async def test_a_foreign_checkout_claims_a_payment(product: Product) -> None:
    """Seed 002's create-from-payment: pending until Stripe's own session says that it was paid."""
    email = address()
    async with product.stripe_client() as stripe:
        session = await stripe.post(
            "/v1/checkout/sessions",
            data={
                "mode": "subscription",
                "success_url": "https://site.example.com/ok",
                "customer_email": email,
                "line_items[0][price_data][currency]": "brl",
                "line_items[0][price_data][product_data][name]": "Plano",
                "line_items[0][price_data][unit_amount]": "24700",
                "line_items[0][price_data][recurring][interval]": "month",
                "line_items[0][quantity]": "1",
                "metadata[plan_id]": "essencial",
            },
        )
    session_id = session.json()["id"]
    body = {"email": email, "name": "Rui Lima", "planId": "essencial", "stripeSessionId": session_id, "amount": 24700}
    product.stripe.pay(session_id)
    async with product.client() as client:
        for bad in ({}, {"Authorization": "Bearer wrong"}):
            assert (
                await client.post("/api/users/external/create-from-payment", json=body, headers=bad)
            ).status_code == 401
    async with product.client(product.checkout_key) as client:
        answers = await asyncio.gather(
            *(client.post("/api/users/external/create-from-payment", json=body) for _ in range(20))
        )
    assert sorted({answer.status_code for answer in answers}) in ([200, 201], [201]), [one.text for one in answers]
    assert sum(answer.status_code == 201 for answer in answers) == 1
    made = next(answer.json() for answer in answers if answer.status_code == 201)
    assert made["success"]
    assert made["data"]["email"] == email
    assert all(one.json()["alreadyProcessed"] for one in answers if one.status_code == 200)
    token, _ = await first_sign_in(product, email)
    async with product.client(token) as client:
        assert (await client.get("/api/subscriptions")).json()["data"][0]["plan_slug"] == "essencial"
    forged = body | {"email": address(), "stripeSessionId": "cs_test_" + "f" * 40}
    async with product.client(product.checkout_key) as client:
        assert (await client.post("/api/users/external/create-from-payment", json=forged)).status_code == 201

    async def refused() -> bool:
        rows = await product.rows(
            "SELECT status FROM tenants.payment_claims WHERE session_id = $1", forged["stripeSessionId"]
        )
        return bool(rows and rows[0]["status"] == "refused")

    await product.until(refused, "the forged claim's refusal")
    (user,) = await product.rows("SELECT status FROM tenants.users WHERE email = $1", forged["email"])
    assert user["status"] == "pending"


async def test_a_webhook_delivered_fifty_times_at_once_is_one_effect(product: Product) -> None:
    email = address()
    page = await intent(product, email, countryCode="US")
    product.stripe.sender.hold = True
    product.stripe.pay(page["sessionId"])
    (event,) = [
        one
        for one in product.stripe.events
        if one["type"] == "checkout.session.completed" and one["data"]["object"]["id"] == page["sessionId"]
    ]
    statuses = await asyncio.gather(*(product.stripe.deliver(event) for _ in range(50)))
    assert {status for one in statuses for status in one} == {200}
    product.stripe.sender.hold = False
    await product.stripe.sender.release()
    await paid_order(product, page["orderId"])
    await product.at_rest()
    await exactly_one_of_each(product, email)
    assert len(await product.mails(email, subject=WELCOME)) == 1


async def test_a_disabled_person_and_a_revoked_key_are_out_within_two_seconds(product: Product) -> None:
    email = address()
    page = await intent(product, email, countryCode="US")
    product.stripe.pay(page["sessionId"])
    await paid_order(product, page["orderId"])
    owner, _ = await first_sign_in(product, email)
    colleague = address()
    async with product.client(owner) as client:
        made = await client.post("/api/users", json={"email": colleague, "name": "Bia", "role": "manager"})
        assert made.status_code == 201, made.text
        key = await client.post("/api/integrations/api-keys", json={"name": "crm", "scopes": ["read"]})
        assert key.status_code == 201, key.text
    theirs, _ = await first_sign_in(product, colleague)
    (row,) = await product.rows("SELECT id FROM tenants.users WHERE email = $1", colleague)
    async with (
        product.client(owner) as client,
        product.client(theirs) as other,
        product.client(key.json()["key"]) as program,
    ):
        assert (await other.get("/api/invoices")).status_code == 200

        async def opens() -> bool:
            return (await program.get("/api/invoices")).status_code == 200

        await product.until(opens, "the key")
        changed = await client.put(f"/api/users/{row['id']}", json={"status": "inactive"})
        assert changed.status_code == 200, changed.text
        revoked = await client.post(f"/api/integrations/api-keys/{key.json()['apiKey']['id']}/revoke")
        assert revoked.status_code == 200, revoked.text
        began = datetime.now(UTC)

        async def both_out() -> bool:
            answers = (await other.get("/api/invoices"), await program.get("/api/invoices"))
            return [answer.status_code for answer in answers] == [401, 401]

        await product.until(both_out, "both out")
        assert datetime.now(UTC) - began < timedelta(seconds=2)
        assert isinstance(client, httpx.AsyncClient)


#: Where a step of the journey ends and the next begins: what is killed with -9 there.
STEPS = (
    ("billing", "consumer.before_commit"),
    ("billing", "relay.after_confirm_before_mark"),
    ("tenants", "consumer.before_commit"),
    ("tenants", "relay.before_publish"),
    ("mailer", "intake.before_commit"),
    ("mailer", "mailer.before_send"),
)


@pytest.mark.parametrize(("service", "window"), STEPS)
async def test_the_journey_survives_a_kill_at_each_step(
    product: Product, tmp_path: Path, service: str, window: str
) -> None:
    """The process dies where the step's effect is not yet, or not yet known to be, on disk; one of everything."""
    one = product.running[service]
    before = dict(one.environment)
    log = tmp_path / "failpoints.log"
    await one.restart(environment={**before, "FAILPOINTS": f"{window}=kill@1x1", "FAILPOINTS_LOG": str(log)})
    await one.ready(timeout_s=60)
    email = address()
    try:
        page = await intent(product, email, countryCode="US")
        product.stripe.pay(page["sessionId"])
        await paid_order(product, page["orderId"])

        async def died() -> bool:
            return log.exists()

        await product.until(died, f"a death of {service} at {window}")
        await product.mails(email, subject=WELCOME)  # what the dying process held is in no queue for a moment
        await product.at_rest()
        await exactly_one_of_each(product, email)
        await first_sign_in(product, email)
    finally:
        await one.restart(environment=before)
        await one.ready(timeout_s=60)


async def test_the_journey_survives_a_broker_that_lost_everything(product: Product) -> None:
    """Its data is wiped between the payment and the welcome; what the outboxes still hold is published again."""
    email = address()
    page = await intent(product, email, countryCode="US")
    began = datetime.now(UTC)
    tenants = product.running["tenants"]
    await tenants.stop()  # so that the order's event is in the broker, and nowhere else, when the broker loses it
    product.stripe.pay(page["sessionId"])
    await paid_order(product, page["orderId"])

    async def published() -> bool:
        (row,) = await product.rows("SELECT count(*) AS n FROM billing.outbox WHERE published_at IS NULL")
        return bool(row["n"] == 0)

    await product.until(published, "billing's events published")
    await asyncio.to_thread(product.broker.crash)
    await asyncio.to_thread(product.broker.wipe)
    await asyncio.to_thread(product.broker.start)
    await tenants.start()
    await asyncio.gather(*(one.ready(timeout_s=90) for one in product.running.values()))
    assert not await product.rows("SELECT 1 FROM tenants.users WHERE email = $1", email)
    for service in ("billing", "tenants"):
        await product.command("outbox", service, "republish", "--since", began.isoformat())
    await product.mails(email, subject=WELCOME)
    await product.at_rest()
    await exactly_one_of_each(product, email)
    await first_sign_in(product, email)
