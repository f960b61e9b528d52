"""Refuses scopes that nobody may give."""

from collections.abc import Sequence

from chassis.db import Connection
from contracts.errors import FieldError, Invalid
from tenants import store
from tenants.domain.api_keys import NAMED_SCOPES, permissions_of_scopes
from tenants.domain.roles import Powers, refuse_unknown


async def check_scopes(conn: Connection, scopes: Sequence[str], *, powers: Powers) -> None:
    """Nothing where each is a scope and all that they open is the caller's own.

    Raises Invalid for none at all and for unknown ones, Forbidden for more than the caller may.
    """
    if not scopes:
        raise Invalid("A key opens something.", code="no_scopes", errors=[FieldError("$.scopes", "is empty")])
    catalogue = [one.key for one in await store.roles.list_permissions(conn)]
    refuse_unknown([scope for scope in scopes if scope not in NAMED_SCOPES], catalogue, field="scopes")
    powers.refuse_beyond(permissions_of_scopes(scopes, catalogue))
