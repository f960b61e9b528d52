"""Gives a person a secret for their authenticator; it protects nothing before a code of it was shown."""

from datetime import datetime
from uuid import UUID

import msgspec

from chassis.db import Connection
from chassis.secrets import SecretBox
from contracts.errors import Conflict
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.domain.brand import brand_of
from tenants.domain.sign_in import home_of
from tenants.totp import new_secret, provisioning_uri
from tenants.usecases.spend_code import TABLE


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What the person's authenticator takes, typed or as a QR code."""

    secret: str
    uri: str


async def set_up_second_factor(conn: Connection, user_id: UUID, *, box: SecretBox, now: datetime) -> Setup:
    """A fresh secret, in the place of one that was never enabled. In a platform transaction.

    Raises NotFound for nobody of ours, Conflict where a second factor is enabled: disabling it takes the password.
    """
    user = await store.users.get_user(conn, user_id)
    secret = new_secret()
    if not await store.totp.put_secret(conn, user.id, box.seal(secret, PLATFORM_TENANT_ID, TABLE, user.id), now):
        raise Conflict("The second factor is enabled.", code="second_factor_enabled")
    issuer = brand_of(home_of(await store.users.list_belongings(conn, user.id)))["brand_name"]
    return Setup(secret=secret, uri=provisioning_uri(secret, email=user.email or str(user.id), issuer=issuer))
