"""The payer's side of the fake: which page a path shows, and what its buttons do."""

from typing import Protocol
from urllib.parse import parse_qsl

from testkit.fake_http import Answer, Request
from testkit.fake_stripe import pages
from testkit.fake_stripe.errors import Refusal
from testkit.fake_stripe.routes import unknown_url
from testkit.fake_stripe.world import Object, World


class Payer(Protocol):
    """What a page's buttons do."""

    def pay(
        self, session_id: str, *, unpaid: bool = False, method: str | None = None, name: str | None = None
    ) -> Object: ...

    def pay_pix(self, payment_intent_id: str) -> Object: ...

    def expire_pix(self, payment_intent_id: str) -> Object: ...

    def retry_invoice(self, invoice_id: str, *, paid: bool = True) -> Object: ...

    def cancel_in_portal(self, subscription_id: str, *, resume: bool = False) -> Object: ...


class Site:
    """Serves the pages of `world`; buttons act through `payer`."""

    def __init__(self, world: World, payer: Payer) -> None:
        self._world = world
        self._payer = payer

    def respond(self, request: Request) -> Answer:
        """The page, or where the payer goes on."""
        parts = request.path.strip("/").split("/")
        form = dict(parse_qsl(request.body.decode("utf-8", "replace")))
        pressed = form.get("action") if request.method == "POST" else None
        try:
            match parts:
                case ["c", "pay", session_id]:
                    return self._checkout(session_id, pressed, form.get("name"))
                case ["pix", intent_id]:
                    return self._pix(intent_id, pressed)
                case ["i", invoice_id]:
                    return self._invoice(invoice_id, pressed)
                case ["p", "session", portal_id]:
                    return self._portal(portal_id, pressed)
            raise unknown_url(request.method, request.path)
        except Refusal as refusal:
            return Answer(refusal.status, pages.message("That is not possible", str(refusal)))

    def _checkout(self, session_id: str, pressed: str | None, name: str | None) -> Answer:
        session = self._world.get("checkout.session", session_id)
        if pressed == "cancel":
            return _redirect(session["cancel_url"] or session["success_url"])
        if pressed is not None:
            _, _, method = pressed.partition(":")
            self._payer.pay(session_id, unpaid=pressed == "later", method=method or None, name=name)
            return _redirect(session["success_url"].replace("{CHECKOUT_SESSION_ID}", session_id))
        if session["status"] != "open":
            return Answer(200, pages.message("Checkout", f"This page is {session['status']}."))
        return Answer(200, pages.checkout_page(self._world, session))

    def _pix(self, intent_id: str, pressed: str | None) -> Answer:
        if pressed == "pay":
            self._payer.pay_pix(intent_id)
        elif pressed == "expire":
            self._payer.expire_pix(intent_id)
        intent = self._world.get("payment_intent", intent_id)
        if intent["status"] != "requires_action":
            return Answer(200, pages.message("PIX", f"The payment's status is {intent['status']}."))
        return Answer(200, pages.pix_page(intent))

    def _invoice(self, invoice_id: str, pressed: str | None) -> Answer:
        invoice = self._world.get("invoice", invoice_id)
        if pressed == "pay":
            self._payer.retry_invoice(invoice_id)
        return Answer(200, pages.invoice_page(invoice))

    def _portal(self, portal_id: str, pressed: str | None) -> Answer:
        portal = self._world.get("billing_portal.session", portal_id)
        if pressed is not None:
            action, _, subscription_id = pressed.partition(":")
            if self._world.get("subscription", subscription_id)["customer"] != portal["customer"]:
                raise Refusal("Not this customer's.", status=404)
            self._payer.cancel_in_portal(subscription_id, resume=action == "resume")
        return Answer(200, pages.portal_page(self._world, portal))


def _redirect(url: str) -> Answer:
    return Answer(303, b"", {"location": url})
