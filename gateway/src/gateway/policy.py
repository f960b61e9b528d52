"""What a role may do inside its tenant where no tenants service says it, and which permissions a service sees."""

from collections.abc import Iterable, Mapping
from typing import Final

from gateway.routes import ROUTES
from gateway.routes.row import Access, Row

#: For API keys of the platform only: no role has them, no token grants them. The tenants service asks for them itself.
KEY_PERMISSIONS: Final = frozenset({"payments:claim", "payments:attest"})
_ASKED_BY_ROUTES: Final = {
    service: frozenset(row.policy.permission for row in rows if row.policy.permission)
    for service, rows in ROUTES.items()
}
ALL_PERMISSIONS: Final[frozenset[str]] = frozenset[str]().union(*_ASKED_BY_ROUTES.values())
#: service -> the permissions that it asks for. Only these ever reach a service, so its token stays small.
SERVICE_PERMISSIONS: Final[Mapping[str, frozenset[str]]] = {
    service: asked | (KEY_PERMISSIONS if service == "tenants" else frozenset())
    for service, asked in _ASKED_BY_ROUTES.items()
}

_READ_ALL = frozenset(name for name in ALL_PERMISSIONS if name.endswith(":read"))
_SENSITIVE = frozenset({"audit:read", "api_keys:read", "email_settings:read"})
_DAILY = frozenset(
    {"emails:read", "email_templates:read", "agents:read", "messages:read", "campaigns:read", "leads:read"}
)

#: Inside a tenant, owner and admin may do everything that a tenant may; an unknown role may do nothing.
ROLE_PERMISSIONS: Final[Mapping[str, frozenset[str]]] = {
    "owner": ALL_PERMISSIONS,
    "admin": ALL_PERMISSIONS,
    "superadmin": ALL_PERMISSIONS,
    "super_admin": ALL_PERMISSIONS,
    "platform_admin": ALL_PERMISSIONS,
    "manager": (_READ_ALL - _SENSITIVE)
    | {
        *("email_templates:write", "suppressions:write", "messages:send", "agents:write", "leads:write"),
        *("campaigns:write", "campaigns:publish", "billing:write", "reports:export", "members:write"),
    },
    "user": _DAILY,
    "member": _DAILY,
    "professional": _DAILY | {"messages:send", "leads:write"},
    "doctor": _DAILY | {"messages:send", "leads:write"},
    "receptionist": _DAILY | {"messages:send", "leads:write", "billing:read"},
    "affiliate": frozenset({"affiliates:write", "campaigns:read"}),
}


def permissions_of(roles: Iterable[str], granted: Iterable[str]) -> frozenset[str]:
    """What the roles allow plus what the token grants by name; `*` there is all that a tenant may, never more."""
    found: set[str] = set()
    for role in roles:
        found |= ROLE_PERMISSIONS.get(role, frozenset())
    for name in granted:
        found |= ALL_PERMISSIONS if name == "*" else ({name} & ALL_PERMISSIONS)
    return frozenset(found)


def rows_of(table: Mapping[str, tuple[Row, ...]]) -> Iterable[tuple[str, str, Row]]:
    """Each (service, method, row) of a table. Raises ValueError for a permission row that names no permission."""
    for service, rows in table.items():
        for row in rows:
            if (row.policy.access is Access.PERMISSION) != bool(row.policy.permission):
                raise ValueError(f"{row.methods} {row.path} has no usable policy")
            for method in row.methods.split():
                yield service, method, row
