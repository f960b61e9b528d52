"""Routes of the mailer: templates, SMTP settings, the delivery log and suppressions (seed 000's tables)."""

from typing import Final

from gateway.routes.row import Row, permission

ROWS: Final = (
    Row("GET", "/email-templates", permission("email_templates:read")),
    Row("POST", "/email-templates", permission("email_templates:write")),
    Row("POST", "/email-templates/preview", permission("email_templates:read")),
    Row("GET", "/email-templates/{id}", permission("email_templates:read")),
    Row("PATCH DELETE", "/email-templates/{id}", permission("email_templates:write")),
    Row("POST", "/email-templates/{id}/preview", permission("email_templates:read")),
    Row("GET", "/email-settings", permission("email_settings:read")),
    Row("POST", "/email-settings", permission("email_settings:write")),
    Row("GET", "/email-settings/{id}", permission("email_settings:read")),
    Row("PATCH DELETE", "/email-settings/{id}", permission("email_settings:write")),
    Row("POST", "/email-settings/{id}/test-send", permission("email_settings:write"), timeout_s=60),
    Row("GET", "/emails", permission("emails:read")),
    Row("GET", "/emails/{id}", permission("emails:read")),
    Row("GET", "/suppressions", permission("suppressions:read")),
    Row("POST", "/suppressions", permission("suppressions:write")),
    Row("DELETE", "/suppressions/{id}", permission("suppressions:write")),
)
