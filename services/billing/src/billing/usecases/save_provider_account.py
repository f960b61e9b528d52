"""Stores a tenant's credentials at a provider; what the settings page was shown, sent back, leaves them as they are."""

import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from billing import store
from billing.accounts import seal_account_secrets
from billing.domain.identifiers import new_id
from billing.domain.provider_accounts import AccountChange, ProviderAccount, hint_of, is_masked, refuse_key
from billing.domain.providers import Provider
from billing.usecases.record_audit import record_audit
from chassis.db import Connection
from chassis.secrets import SecretBox
from contracts.audit import Doer
from contracts.errors import Conflict, FieldError, Invalid

_MAX_CONFIG_BYTES: Final = 10_000
_SECRET: Final = re.compile(r"[\x21-\x7e]{8,500}")


async def save_provider_account(
    conn: Connection,
    tenant_id: UUID,
    change: AccountChange,
    *,
    box: SecretBox,
    platform_tokens: Sequence[str],
    by: Doer,
    now: datetime,
) -> ProviderAccount:
    """The account as it stands now, its secrets sealed, found by the hash of its webhook token.

    `platform_tokens` are those of the platform's own account there. Raises Invalid for a key of another kind or world,
    for a masked one where nothing is stored, and for an Asaas account without a webhook token, of which no event could
    be believed; Conflict for a token that another account has.
    """
    current = await store.provider_accounts.lock_account_of(
        conn, tenant_id, change.provider.value, change.environment.value
    )
    account_id = current.id if current else new_id(now)
    _refuse(change, current)
    token = _fresh(change.webhook_secret)
    key, secret, webhook_secret = seal_account_secrets(
        box,
        account_id,
        tenant_id,
        api_key=_fresh(change.api_key) or "",
        api_secret=_fresh(change.api_secret),
        webhook_secret=token,
    )
    stays = {name: _stays(getattr(change, name)) for name in ("api_key", "api_secret", "webhook_secret")}
    account = ProviderAccount(
        id=account_id,
        tenant_id=tenant_id,
        provider=change.provider,
        environment=change.environment,
        api_key=current.api_key if current and stays["api_key"] else key,
        api_key_hint=current.api_key_hint if current and stays["api_key"] else hint_of(change.api_key),
        api_secret=current.api_secret if current and stays["api_secret"] else secret,
        webhook_secret=current.webhook_secret if current and stays["webhook_secret"] else webhook_secret,
        config=change.config,
        is_active=change.is_active,
        created_by=current.created_by if current else by.actor.id,
        updated_by=by.actor.id,
        created_at=current.created_at if current else now,
        updated_at=now,
    )
    if account.provider is Provider.ASAAS and account.webhook_secret is None:
        raise _invalid("webhookSecret", "is needed: without it anybody could say that a charge was paid")
    await store.provider_accounts.upsert_account(conn, tenant_id, account)
    await _enter_token(conn, account, token, platform_tokens)
    await record_audit(
        conn,
        tenant_id,
        "provider_account.saved",
        by=by,
        kind="provider_account",
        target_id=account_id,
        now=now,
        provider=account.provider.value,
        environment=account.environment.value,
        is_active=account.is_active,
        key_changed=not stays["api_key"],
    )
    return account


def _refuse(change: AccountChange, current: ProviderAccount | None) -> None:
    if is_masked(change.api_key):
        if current is None:
            raise _invalid("apiKey", "is masked, and no key is stored for this environment")
    else:
        refuse_key(change.provider, change.environment, change.api_key)
    for name, field, stored in (
        ("apiSecret", change.api_secret, current.api_secret if current else None),
        ("webhookSecret", change.webhook_secret, current.webhook_secret if current else None),
    ):
        if isinstance(field, str) and is_masked(field) and stored is None:
            raise _invalid(name, "is masked, and none is stored")
        if (fresh := _fresh(field)) is not None and not _SECRET.fullmatch(fresh):
            raise _invalid(name, "must be 8 to 500 visible ASCII characters")
    if len(msgspec.json.encode(change.config)) > _MAX_CONFIG_BYTES:
        raise _invalid("config", f"is larger than {_MAX_CONFIG_BYTES} bytes")


def _stays(field: str | UnsetType | None) -> bool:
    return field is UNSET or (isinstance(field, str) and is_masked(field))


def _fresh(field: str | UnsetType | None) -> str | None:
    """The secret to store; None where it stays or goes."""
    return field if isinstance(field, str) and field and not is_masked(field) else None


def _invalid(field: str, reason: str) -> Invalid:
    return Invalid(f"The account is refused: {field} {reason}.", errors=(FieldError(f"$.{field}", reason),))


async def _enter_token(
    conn: Connection, account: ProviderAccount, token: str | None, platform_tokens: Sequence[str]
) -> None:
    if account.webhook_secret is None:
        await store.provider_accounts.delete_webhook_tokens(conn, account.tenant_id, account.id)
    if token is None:
        return
    is_platforms = [hmac.compare_digest(token.encode(), own.encode()) for own in platform_tokens]
    if True in is_platforms or not await store.provider_accounts.replace_webhook_token(
        conn, account.tenant_id, account.id, account.provider.value, hashlib.sha256(token.encode()).digest()
    ):
        raise Conflict("Another account has this webhook token: choose a new one.", code="webhook_token_taken")
