"""Routes of identity: sign-in, users, tenants, roles, API keys, audit and privacy (seeds 002 to 004)."""

from typing import Final

from gateway.routes.row import API_KEY, PLATFORM_ADMIN, PUBLIC, REFRESH, SIGN_IN, USER, Row, permission, webhook

_USERS_READ = permission("users:read")
_USERS_WRITE = permission("users:write")
_MEMBERS_READ = permission("members:read")
_MEMBERS_WRITE = permission("members:write")
_KEYS_READ = permission("api_keys:read")
_KEYS_WRITE = permission("api_keys:write")

_SIGN_IN: Final = (
    Row("POST", "/auth/login", SIGN_IN, sets_cookies=True),
    Row("POST", "/auth/register", SIGN_IN),
    Row("POST", "/auth/refresh", REFRESH, sets_cookies=True),
    Row("POST", "/auth/refresh-token", REFRESH, sets_cookies=True),
    Row("POST", "/auth/logout", REFRESH, sets_cookies=True),
    Row("GET", "/auth/me", USER),
    Row("GET", "/auth/profile", USER),
    Row("GET", "/auth/users", _USERS_READ),
    Row("POST", "/auth/forgot-password", SIGN_IN),
    Row("POST", "/auth/request-password-reset", SIGN_IN),
    Row("POST", "/auth/reset-password", SIGN_IN),
    Row("POST", "/auth/reset-password/{token}", SIGN_IN),
    Row("GET", "/auth/verify-email/{token}", SIGN_IN),
    Row("POST", "/auth/2fa/setup", USER),
    Row("POST", "/auth/2fa/enable", USER),
    Row("POST", "/auth/2fa/disable", USER),
    Row("POST", "/auth/2fa/verify", SIGN_IN, sets_cookies=True),
    Row("POST", "/whatsapp-auth/initiate", PUBLIC),
    Row("POST", "/whatsapp-auth/webhook", webhook("n8n", "x-webhook-secret")),
    Row("GET", "/whatsapp-auth/check/{number}", PUBLIC),
)

_PEOPLE: Final = (
    Row("GET", "/me", USER),
    Row("GET", "/users", _USERS_READ),
    Row("POST", "/users", _USERS_WRITE),
    Row("GET", "/users/permissions/me", USER),
    Row("GET", "/users/audit-logs", permission("audit:read")),
    Row("POST", "/users/external/create-from-payment", API_KEY),
    Row("GET", "/users/{id}", _USERS_READ),
    Row("PUT PATCH DELETE", "/users/{id}", _USERS_WRITE),
    Row("POST", "/users/{id}/resend-welcome-email", _USERS_WRITE),
    Row("POST", "/users/{id}/suspend", PLATFORM_ADMIN),
    Row("POST", "/users/{id}/reactivate", PLATFORM_ADMIN),
    Row("POST", "/tenants", USER),
    Row("GET", "/tenants", PLATFORM_ADMIN),
    Row("GET", "/admin/tenants", PLATFORM_ADMIN),
    Row("GET", "/tenants/{id}", permission("tenants:read")),
    Row("PATCH", "/tenants/{id}", permission("tenants:write")),
    Row("GET", "/tenants/{slug}/public", PUBLIC),
    Row("POST", "/tenants/{id}/suspend", PLATFORM_ADMIN),
    Row("POST", "/tenants/{id}/reactivate", PLATFORM_ADMIN),
    Row("GET", "/tenants/{id}/members", _MEMBERS_READ),
    Row("PATCH DELETE", "/tenants/{id}/members/{user_id}", _MEMBERS_WRITE),
    Row("GET", "/tenants/{id}/invitations", _MEMBERS_READ),
    Row("POST", "/tenants/{id}/invitations", _MEMBERS_WRITE),
    Row("DELETE", "/tenants/{id}/invitations/{invitation_id}", _MEMBERS_WRITE),
    Row("POST", "/invitations/accept", PUBLIC),
)

_ACCESS: Final = (
    Row("GET", "/roles", permission("roles:read")),
    Row("POST", "/roles", permission("roles:write")),
    Row("GET", "/roles/{id}", permission("roles:read")),
    Row("PUT PATCH DELETE", "/roles/{id}", permission("roles:write")),
    Row("GET", "/permissions", permission("roles:read")),
    Row("GET", "/integrations/api-keys", _KEYS_READ),
    Row("POST", "/integrations/api-keys", _KEYS_WRITE),
    Row("GET", "/integrations/api-keys/stats", _KEYS_READ),
    Row("GET", "/integrations/api-keys/{id}", _KEYS_READ),
    Row("PUT DELETE", "/integrations/api-keys/{id}", _KEYS_WRITE),
    Row("POST", "/integrations/api-keys/{id}/revoke", _KEYS_WRITE),
    Row("POST", "/integrations/api-keys/{id}/activate", _KEYS_WRITE),
    Row("GET", "/audit", permission("audit:read")),
    Row("GET", "/audit/export", permission("audit:read"), timeout_s=120),
    Row("GET", "/audit/verification", permission("audit:read"), timeout_s=60),
    Row("POST", "/privacy/erasures", permission("privacy:write")),
    Row("POST", "/privacy/exports", permission("privacy:write")),
    Row("GET", "/privacy/requests/{id}", permission("privacy:write")),
    Row("POST", "/privacy/consents", permission("privacy:write")),
)

ROWS: Final = (*_SIGN_IN, *_PEOPLE, *_ACCESS)
