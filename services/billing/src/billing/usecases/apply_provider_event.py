"""Deals with a stored webhook: the object that it is about is fetched as it is now, and only that counts."""

from uuid import UUID

from billing import store
from billing.accounts import Accounts, Api
from billing.domain.customers import PLATFORM_ACCOUNT
from billing.domain.provider_events import EventSource, Outcome, ProviderEvent, ProviderEventStatus, ignored
from billing.domain.providers import NotAtProvider, Provider, ProviderMisconfigured
from billing.pagbank_api import PagBankApi
from billing.stripe_api import StripeApi
from billing.usecases.apply_checkout import apply_checkout
from billing.usecases.apply_invoice import apply_invoice
from billing.usecases.apply_payment import apply_payment
from billing.usecases.apply_pix_notice import apply_pix_notice
from billing.usecases.apply_subscription import apply_subscription
from bus.failures import is_transient, reason_of
from chassis.clock import Clock
from chassis.db import Database, platform_transaction, transaction
from contracts.errors import NotFound

_DONE = (ProviderEventStatus.PROCESSED, ProviderEventStatus.IGNORED, ProviderEventStatus.REVIEW)


async def apply_provider_event(
    db: Database, accounts: Accounts, provider_event_id: UUID, *, clock: Clock
) -> ProviderEventStatus:
    """The event's status afterwards; one that was dealt with before is left alone.

    Its effects and the mark that it is done are two transactions: a process that dies between them makes it dealt with
    again, which changes nothing. Raises NotFound, Unavailable for what passes (it stays `received`), and what else went
    wrong, marked `failed` with the reason.
    """
    async with platform_transaction(db) as conn:
        event = await store.provider_events.find_event(conn, provider_event_id)
    if event is None:
        raise NotFound("no such provider event")
    if event.status in _DONE:
        return event.status
    try:
        outcome = await _apply(db, accounts, event, clock)
    except NotAtProvider:
        outcome = ignored("its provider does not know what it is about")
    except Exception as error:
        status = ProviderEventStatus.RECEIVED if is_transient(error) else ProviderEventStatus.FAILED
        await _mark(db, event, Outcome(status, reason_of(error)), clock)
        raise
    await _mark(db, event, outcome, clock)
    return outcome.status


async def _apply(db: Database, accounts: Accounts, event: ProviderEvent, clock: Clock) -> Outcome:
    if event.provider is EventSource.PIX:
        return await apply_pix_notice(db, accounts, event, clock=clock)
    external_id = event.object_external_id
    if external_id is None or event.kind in ("other", "customer"):
        return ignored("it is about no object of ours")
    provider = Provider(event.provider.value)
    api = await _open(db, accounts, event, provider)
    if event.kind == "payment":
        return await apply_payment(db, api, provider, event.account_id, external_id, clock=clock)
    if event.kind == "subscription" and not isinstance(api, PagBankApi):
        return await apply_subscription(db, api, event.account_id, external_id, clock=clock)
    if event.kind == "checkout" and isinstance(api, StripeApi):
        return await apply_checkout(db, api, event.account_id, external_id, clock=clock)
    if event.kind == "invoice" and isinstance(api, StripeApi):
        return await apply_invoice(db, api, event.account_id, external_id, clock=clock)
    # Only Stripe's pages make what is looked at; the others' are told of by their payments, and end by our own time.
    return ignored("nothing depends on it")


async def _open(db: Database, accounts: Accounts, event: ProviderEvent, provider: Provider) -> Api:
    if event.account_id == PLATFORM_ACCOUNT:
        return await accounts.of_platform(provider)
    if event.tenant_id is None:
        raise ProviderMisconfigured("the event's account is nobody's")
    async with transaction(db, event.tenant_id) as conn:
        return await accounts.open(conn, event.tenant_id, event.account_id, provider)


async def _mark(db: Database, event: ProviderEvent, outcome: Outcome, clock: Clock) -> None:
    async with platform_transaction(db) as conn:
        await store.provider_events.mark_event(
            conn,
            event.id,
            status=outcome.status.value,
            reason=outcome.reason,
            tenant_id=outcome.tenant_id,
            now=clock(),
        )
