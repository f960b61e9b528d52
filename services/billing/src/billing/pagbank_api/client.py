"""What billing asks of one PagBank account, in our words."""

from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from billing.domain.br_code import BrCodeRefused, parse_br_code
from billing.domain.providers import (
    ChargeCreated,
    ChargeRequest,
    Checkout,
    CheckoutRequest,
    CheckoutState,
    NotAtProvider,
    PaymentState,
    PaymentStatus,
    PixCode,
    ProviderRefused,
    RefundState,
)
from billing.pagbank_api.connection import PagBankConnection, path
from billing.pagbank_api.public_keys import PublicKeys
from billing.pagbank_api.requests import checkout_body, order_body
from billing.pagbank_api.states import (
    Charge,
    Item,
    Link,
    Order,
    charge_state,
    charge_status,
    link,
    moment,
    order_state,
    qr_code,
    read,
    the_charge,
)
from chassis.clock import utc_now
from contracts.errors import BadGateway

PRODUCTION_URL: Final = "https://api.pagseguro.com"
SANDBOX_URL: Final = "https://sandbox.api.pagseguro.com"

_MOST_ORDERS: Final = 5


class PagBankPix(msgspec.Struct, frozen=True, kw_only=True):
    """An order's PIX code, where PagBank draws its image, and PagBank's own object."""

    code: PixCode
    image_url: str | None
    raw: dict[str, object]


class _OrderOfCheckout(msgspec.Struct, kw_only=True):
    id: str


class _Checkout(msgspec.Struct, kw_only=True):
    id: str
    reference_id: str | None = None
    status: str = "ACTIVE"
    expiration_date: str | None = None
    items: list[Item] = []
    links: list[Link] = []
    orders: list[_OrderOfCheckout] = []


class PagBankApi:
    """One account. What is created carries an idempotency key, so that a repeated call makes nothing twice.

    The errors are those of ProviderHttp.ask, and BadGateway where an answer cannot be read. An account that PagBank has
    not released raises ProviderMisconfigured with words for its operator.
    """

    def __init__(self, token: str, *, base_url: str = PRODUCTION_URL, now: Callable[[], datetime] = utc_now) -> None:
        self._connection = PagBankConnection(token, base_url)
        self._public_keys = PublicKeys(self._connection, now)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes its connections."""
        await self._connection.close()

    async def create_checkout(self, request: CheckoutRequest, *, key: str) -> Checkout:
        """PagBank's page for one payment. An interval makes no subscription there: billing asks again each period."""
        found = await self._connection.ask("POST", "/checkouts", json=checkout_body(request), key=key)
        checkout = read(found, _Checkout)
        if not (url := link(checkout.links, "PAY")):
            raise BadGateway("PagBank answered a checkout without a page to pay on.")
        return Checkout(external_id=checkout.id, url=url, expires_at=moment(checkout.expiration_date))

    async def get_checkout(self, checkout_id: str) -> CheckoutState:
        """A checkout as it stands; it is complete only when an order of it is paid. Raises NotAtProvider."""
        checkout = await self._checkout(checkout_id)
        orders = await self._orders(checkout)
        paid = next((order for order in orders if order.status is PaymentStatus.PAID), None)
        is_over = checkout.status in ("EXPIRED", "INACTIVE")
        return CheckoutState(
            external_id=checkout.id,
            status="complete" if paid else "expired" if is_over else "open",
            payment_status="paid" if paid else "unpaid",
            amount_cents=paid.amount_cents if paid else sum(one.quantity * one.unit_amount for one in checkout.items),
            currency=paid.currency if paid else "BRL",
            reference=checkout.reference_id or None,
            payment_external_id=paid.external_id if paid else None,
            completed_at=paid.paid_at if paid else None,
        )

    async def list_checkout_payments(self, checkout_id: str) -> list[PaymentState]:
        """What was tried on a checkout's page, paid or not. Raises NotAtProvider."""
        return await self._orders(await self._checkout(checkout_id))

    async def close_checkout(self, checkout_id: str, *, key: str) -> None:
        """Nothing can be begun on the page any more. Raises ProviderRefused for one that is paid, or over already."""
        await self._connection.ask("POST", path("checkouts", checkout_id, "inactivate"), json={}, key=key)

    async def create_charge(self, request: ChargeRequest, *, key: str) -> ChargeCreated:
        """An order with a PIX code or a boleto; its `external_id` is the order's.

        Raises ProviderRefused for a card too: it can only be paid on a checkout's page.
        """
        raw = await self._connection.ask("POST", "/orders", json=order_body(request), key=key)
        state = order_state(raw)
        order = read(raw, Order)
        pix = _pix(order)
        slip = next(
            (url for charge in order.charges if (url := link(charge.links, "SELF", media="application/pdf"))), None
        )
        return ChargeCreated(external_id=state.external_id, status=state.status, pix=pix, url=slip, raw=raw)

    async def get_payment(self, external_id: str) -> PaymentState:
        """What an order's or a charge's id stands for; a charge is read as part of its order where it has one.

        Raises NotAtProvider.
        """
        if not external_id.startswith("CHAR_"):
            return await self.get_order(external_id)
        return await self.find_order_of_charge(external_id) or await self.get_charge(external_id)

    async def get_order(self, order_id: str) -> PaymentState:
        """An order as it stands: the first charge that is paid, else the last. Raises NotAtProvider."""
        return order_state(await self._connection.ask("GET", path("orders", order_id)))

    async def get_charge(self, charge_id: str) -> PaymentState:
        """A charge on its own as it stands. Raises NotAtProvider."""
        raw = await self._connection.ask("GET", path("charges", charge_id))
        return charge_state(read(raw, Charge), raw)

    async def find_order_of_charge(self, charge_id: str) -> PaymentState | None:
        """The order that a charge belongs to, else None."""
        path(charge_id)
        try:
            found = await self._connection.ask("GET", "/orders", params={"charge_id": charge_id})
        except NotAtProvider:
            return None
        orders = found.get("orders", [found] if "id" in found else [])
        for raw in orders if isinstance(orders, list) else []:
            if any(charge.id == charge_id for charge in read(raw, Order).charges):
                return order_state(raw)
        return None

    async def get_pix(self, order_id: str) -> PagBankPix:
        """An order's PIX code. Raises NotAtProvider, also for an order without one."""
        raw = await self._connection.ask("GET", path("orders", order_id))
        order = read(raw, Order)
        found = qr_code(order)
        pix = _pix(order)
        if found is None or pix is None:
            raise NotAtProvider("The order has no PIX code.")
        return PagBankPix(code=pix, image_url=link(found[0].links, "QRCODE.PNG"), raw=raw)

    async def cancel_payment(self, external_id: str, *, key: str) -> None:
        """Withdraws what still waits (a boleto). A PIX code cannot be withdrawn: it ends at its own time.

        Raises ProviderRefused when it is paid.
        """
        charge = await self._charge(external_id)
        if charge is None or charge_status(charge) is PaymentStatus.CANCELLED:
            return
        if charge_status(charge) not in (PaymentStatus.PENDING, PaymentStatus.FAILED):
            raise ProviderRefused("PagBank has the payment already: it can only be refunded.")
        await self._cancel(charge.id, charge.amount.value, key)

    async def refund(self, external_id: str, amount_cents: int | None, description: str, *, key: str) -> RefundState:
        """Gives `amount_cents` of a paid order or charge back, or what is left of it. PagBank keeps no description.

        Pending until PagBank's sum of what went back has grown by it; also where it had grown before we looked, because
        the answer to an earlier try was lost: the payment's own sum settles that.

        A repeated call with its `key` gives nothing twice. Raises ProviderRefused with PagBank's reason.
        """
        charge = await self._charge(external_id)
        if charge is None:
            raise ProviderRefused("PagBank has no payment of this order yet.")
        summary = charge.amount.summary
        given_back = summary.refunded or 0 if summary else 0
        amount = charge.amount.value - given_back if amount_cents is None else amount_cents
        refund = RefundState(external_id=f"{charge.id}/{key}", status="done", amount_cents=amount)
        if charge_status(charge) is PaymentStatus.REFUNDED and amount_cents in (None, charge.amount.value):
            return msgspec.structs.replace(refund, amount_cents=charge.amount.value)
        after = await self._cancel(charge.id, amount, key)
        done = after.amount.summary.refunded or 0 if after.amount.summary else 0
        is_done = charge_status(after) is PaymentStatus.REFUNDED or done >= given_back + amount
        return refund if is_done else msgspec.structs.replace(refund, status="pending")

    async def public_keys(self, *, refresh: bool = False) -> tuple[bytes, ...]:
        """The keys that `x-payload-signature` is checked with, in DER; kept for an hour.

        With `refresh`, for a signature that fits none of them, new ones, at most once a minute.
        """
        return await self._public_keys.get(refresh=refresh)

    async def ping(self) -> None:
        """Returns when PagBank takes our token. Raises ProviderMisconfigured when it does not."""
        try:
            await self._connection.ask("GET", "/public-keys", params={"type": "webhook"})
        except NotAtProvider:
            return

    async def _checkout(self, checkout_id: str) -> _Checkout:
        return read(await self._connection.ask("GET", path("checkouts", checkout_id)), _Checkout)

    async def _orders(self, checkout: _Checkout) -> list[PaymentState]:
        return [await self.get_order(order.id) for order in checkout.orders[:_MOST_ORDERS]]

    async def _charge(self, external_id: str) -> Charge | None:
        if external_id.startswith("CHAR_"):
            return read(await self._connection.ask("GET", path("charges", external_id)), Charge)
        return the_charge(read(await self._connection.ask("GET", path("orders", external_id)), Order).charges)

    async def _cancel(self, charge_id: str, amount_cents: int, key: str) -> Charge:
        body: dict[str, Any] = {"amount": {"value": amount_cents}}
        return read(
            await self._connection.ask("POST", path("charges", charge_id, "cancel"), json=body, key=key), Charge
        )


def _pix(order: Order) -> PixCode | None:
    found = qr_code(order)
    if found is None or found[0].text is None:
        return None
    try:
        txid = parse_br_code(found[0].text).txid
    except BrCodeRefused as error:
        raise BadGateway(f"PagBank answered a PIX code that no bank would take: {error}") from None
    return PixCode(copy_paste=found[0].text, txid=txid, expires_at=moment(found[1]))
