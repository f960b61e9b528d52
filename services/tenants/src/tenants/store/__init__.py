"""Every SQL statement of the tenants service, by noun. Rows travel as JSON: a Struct's fields are a table's columns."""

from tenants.store import (
    api_keys,
    audit,
    claims,
    invitations,
    links,
    mailed_links,
    memberships,
    privacy,
    roles,
    sessions,
    snapshot,
    subscriptions,
    tenants,
    totp,
    tries,
    users,
)

__all__ = [
    "api_keys",
    "audit",
    "claims",
    "invitations",
    "links",
    "mailed_links",
    "memberships",
    "privacy",
    "roles",
    "sessions",
    "snapshot",
    "subscriptions",
    "tenants",
    "totp",
    "tries",
    "users",
]
