"""Notes whose a mail address is, as the tenants service tells of its users."""

from billing import store
from chassis.db import Connection
from contracts.tenants import UserDisabled, UserEvent

#: Of the tenants service's words: whoever has one of these will act for the tenant, or does.
_BELONGS = ("pending", "active")


async def follow_user(conn: Connection, event: UserEvent) -> None:
    """A purchase by that address without sign-in is for the user's tenant from now on; not once they were disabled.

    Told late or twice, it changes nothing: newer news of the same user stands. In a platform transaction, since the
    address may have been another tenant's, minted for an order.
    """
    email = event.email.lower()
    if not email:  # erased
        return
    is_active = event.status in _BELONGS and not isinstance(event, UserDisabled)
    await store.directory.set_email_owner(
        conn, email, event.tenant_id, event.user_id, is_active=is_active, at=event.occurred_at
    )
    await store.directory.delete_former_emails(conn, event.tenant_id, event.user_id, email, event.occurred_at)
