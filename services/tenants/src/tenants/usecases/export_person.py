"""The tenants service's own part of an export: what it holds of a person, sealed."""

from datetime import datetime
from typing import Any

import msgspec

from bus.outbox import tell
from chassis.db import Connection
from chassis.secrets import SecretBox
from contracts.tenants import DataExported, ExportRequested
from tenants import store


async def export_person(conn: Connection, request: ExportRequested, *, box: SecretBox, now: datetime) -> None:
    """Tells membership, account, invitations, payment claims and consents of the person, sealed under SECRETS_KEY.

    In a platform transaction. No hash, token or second factor is told: those are not about a person but their keys. Of
    somebody who is elsewhere too, the tenant is told no more of the account than it sees of them otherwise.
    """
    member = await store.memberships.find_membership(conn, request.tenant_id, request.user_id)
    user = await store.users.find_user(conn, request.user_id)
    is_elsewhere = len(await store.memberships.list_of_user(conn, request.user_id)) > (member is not None)
    held: dict[str, Any] = {
        "membership": None if member is None else msgspec.to_builtins(member),
        "account": None
        if user is None or is_elsewhere
        else {
            "email": user.email,
            "name": user.name,
            "status": user.status,
            "preferences": user.preferences,
            "created_at": user.created_at,
            "last_sign_in_at": user.last_sign_in_at,
        },
        "invitations": msgspec.to_builtins(
            await store.invitations.list_to(conn, request.tenant_id, request.email), str_keys=True
        ),
        "payment_claims": msgspec.to_builtins(
            await store.claims.list_of_user(conn, request.tenant_id, request.user_id), str_keys=True
        ),
        "consents": await store.privacy.list_consents(conn, request.tenant_id, request.user_id),
    }
    text = msgspec.json.encode(held).decode()
    event = DataExported(
        tenant_id=request.tenant_id,
        occurred_at=now,
        export_id=request.export_id,
        sealed=box.seal(text, request.tenant_id, "privacy_exports", request.export_id),
    )
    await tell(conn, event, tenant_id=request.tenant_id, aggregate_id=request.export_id)
