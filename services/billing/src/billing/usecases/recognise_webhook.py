"""Finds whose account a webhook came to, and checks that its provider sent it there. Nothing else in it is believed."""

import hashlib
from collections.abc import Sequence
from datetime import datetime

import msgspec

from billing import store
from billing.accounts import Accounts, AccountSecrets
from billing.asaas_api import read_asaas_event, verify_asaas
from billing.domain.customers import PLATFORM_ACCOUNT
from billing.domain.identifiers import new_id
from billing.domain.provider_accounts import ProviderAccount
from billing.domain.provider_events import EventSource, NewProviderEvent
from billing.domain.providers import Notice, Provider, SignatureRefused
from billing.pagbank_api import PagBankApi, read_pagbank_event, verify_pagbank
from billing.stripe_api import read_stripe_event, verify_stripe
from bus.trace import current_traceparent
from chassis.db import Connection, Database, platform_transaction


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it came. `signature` is Stripe-Signature, asaas-access-token or x-authenticity-token."""

    provider: Provider
    raw: bytes
    signature: str | None
    payload_signatures: Sequence[str] = ()
    content_type: str | None = None


async def recognise_webhook(db: Database, accounts: Accounts, delivery: Delivery, *, now: datetime) -> NewProviderEvent:
    """The event to store. The platform's own secrets are tried first, without a look at the database.

    A tenant's account is found by the hash of its token (Asaas), or by whose the named object is, and then its own
    secret decides; the request says nothing about tenants that is read. Raises SignatureRefused, Malformed.
    """
    match delivery.provider:
        case Provider.STRIPE:
            secrets, notice = await _stripe(db, accounts, delivery, now)
        case Provider.ASAAS:
            secrets, notice = await _asaas(db, accounts, delivery)
        case Provider.PAGBANK:
            secrets, notice = await _pagbank(db, accounts, delivery)
    return NewProviderEvent(
        id=new_id(now),
        provider=EventSource(delivery.provider.value),
        account_id=secrets.account_id,
        notice=notice,
        payload=delivery.raw,
        tenant_id=secrets.tenant_id,
        traceparent=current_traceparent.get(),
    )


async def _stripe(db: Database, accounts: Accounts, delivery: Delivery, now: datetime) -> tuple[AccountSecrets, Notice]:
    refusal = SignatureRefused("no account at Stripe is configured")
    secrets = accounts.platform_secrets(Provider.STRIPE)
    if secrets is not None:
        try:
            notice = verify_stripe(delivery.raw, delivery.signature, secrets.webhook_secrets, now)
        except SignatureRefused as error:
            refusal = error
        else:
            return secrets, _of_this_world(notice, secrets)
    if not delivery.signature:
        raise refusal
    account = await _account_of(db, Provider.STRIPE, read_stripe_event(delivery.raw))
    if account is None:
        raise refusal
    secrets = accounts.secrets_of(account)
    return secrets, _of_this_world(
        verify_stripe(delivery.raw, delivery.signature, secrets.webhook_secrets, now), secrets
    )


def _of_this_world(notice: Notice, secrets: AccountSecrets) -> Notice:
    """An event of Stripe's other world, test or live, is about no object that this key can see."""
    is_live = "_live_" in secrets.api_key[:8]
    if notice.livemode in (None, is_live):
        return notice
    return msgspec.structs.replace(notice, kind="other")


async def _asaas(db: Database, accounts: Accounts, delivery: Delivery) -> tuple[AccountSecrets, Notice]:
    refusal = SignatureRefused("no account at Asaas is configured")
    secrets = accounts.platform_secrets(Provider.ASAAS)
    if secrets is not None:
        try:
            verify_asaas(delivery.signature, secrets.webhook_secrets)
        except SignatureRefused as error:
            refusal = error
        else:
            return secrets, read_asaas_event(delivery.raw)
    if not delivery.signature:
        raise refusal
    token_sha256 = hashlib.sha256(delivery.signature.encode("utf-8", "surrogatepass")).digest()
    async with platform_transaction(db) as conn:
        found = await store.directory.find_webhook_account(conn, Provider.ASAAS.value, token_sha256)
        account = await store.provider_accounts.find_account(conn, *found) if found else None
    if account is None:
        raise refusal
    secrets = accounts.secrets_of(account)
    verify_asaas(delivery.signature, secrets.webhook_secrets)
    return secrets, read_asaas_event(delivery.raw)


async def _pagbank(db: Database, accounts: Accounts, delivery: Delivery) -> tuple[AccountSecrets, Notice]:
    # The object first: x-payload-signature is PagBank's word for any of its accounts, and an unsigned sandbox's
    # delivery is nobody's, so that only what the body is about tells whose it is.
    notice = read_pagbank_event(delivery.raw, delivery.content_type)
    platform = accounts.platform_secrets(Provider.PAGBANK)
    account = await _account_of(db, Provider.PAGBANK, notice)
    if account is not None:
        secrets = accounts.secrets_of(account)
        await _verify_pagbank(delivery, secrets, await _pagbank_api(accounts, account))
        return secrets, notice
    if platform is None:
        raise SignatureRefused("no account at PagBank is configured")
    await _verify_pagbank(delivery, platform, await _pagbank_api(accounts, None))
    return platform, notice


async def _pagbank_api(accounts: Accounts, account: ProviderAccount | None) -> PagBankApi:
    api = await (accounts.of_platform(Provider.PAGBANK) if account is None else accounts.of_account(account))
    assert isinstance(api, PagBankApi)
    return api


async def _verify_pagbank(delivery: Delivery, secrets: AccountSecrets, api: PagBankApi) -> None:
    """Asks for PagBank's keys only where they are needed, and for new ones when a signature fits none of the old."""
    keys: tuple[bytes, ...] = ()
    for refresh in (None, False, True):
        if refresh is not None:
            keys = await api.public_keys(refresh=refresh)
        try:
            verify_pagbank(
                delivery.raw,
                delivery.signature,
                delivery.payload_signatures,
                token=secrets.api_key,
                public_keys=keys,
                sandbox_unsigned_allowed=secrets.unsigned_sandbox,
            )
        except SignatureRefused:
            if refresh is True or not any(delivery.payload_signatures):
                raise
        else:
            return


async def _account_of(db: Database, provider: Provider, notice: Notice) -> ProviderAccount | None:
    """The tenant's account that the named object stands at; None where it is nobody's, or the platform's."""
    names = [
        (notice.kind, notice.object_external_id),
        (notice.kind, notice.parent_external_id),
        ("reference", notice.reference),
    ]
    async with platform_transaction(db) as conn:
        for kind, external_id in names:
            if external_id is not None and kind != "other":
                account = await _account_at(conn, provider, kind, external_id)
                if account is not None:
                    return account
    return None


async def _account_at(conn: Connection, provider: Provider, kind: str, external_id: str) -> ProviderAccount | None:
    found = await store.directory.find_object(
        conn, provider=provider.value, account_id=None, kind=kind, external_id=external_id
    )
    if found is None or found.account_id == PLATFORM_ACCOUNT:
        return None
    return await store.provider_accounts.find_account(conn, found.tenant_id, found.account_id)
