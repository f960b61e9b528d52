"""The tenants service over HTTP, by noun; ends in ROUTES."""

from tenants.api import (
    accounts,
    api_keys,
    audit,
    auth,
    external,
    invitations,
    me,
    members,
    privacy,
    roles,
    second_factor,
    snapshot,
    tenants,
    users,
)

ROUTES = [
    *auth.ROUTES,
    *second_factor.ROUTES,
    *me.ROUTES,
    *users.ROUTES,
    *accounts.ROUTES,
    *external.ROUTES,
    *tenants.ROUTES,
    *members.ROUTES,
    *invitations.ROUTES,
    *roles.ROUTES,
    *api_keys.ROUTES,
    *audit.ROUTES,
    *privacy.ROUTES,
    *snapshot.ROUTES,
]
