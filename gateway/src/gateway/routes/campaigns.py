"""Routes of campaigns, leads, affiliates and their integrations (seed 004; public leads from seed 002)."""

from typing import Final

from gateway.routes.row import API_KEY, PUBLIC, Row, permission, webhook

_READ = permission("campaigns:read")
_WRITE = permission("campaigns:write")
_PUBLISH = permission("campaigns:publish")
_LEADS_READ = permission("leads:read")
_LEADS_WRITE = permission("leads:write")
_INTEGRATE = permission("integrations:write")
_AFFILIATE = permission("affiliates:write")
_N8N = webhook("n8n", "x-webhook-secret")
_MODEL_S = 120.0  # a language or image model answers inside the request

ROWS: Final = (
    Row("GET", "/marketplace", PUBLIC),
    Row("GET", "/campaigns", _READ, "named"),
    Row("POST", "/campaigns", _WRITE, "named"),
    Row("GET", "/campaigns/{id}", _READ, "named"),
    Row("PATCH", "/campaigns/{id}", _WRITE, "named"),
    Row("POST", "/campaigns/{id}/prepare", _WRITE, "named", timeout_s=_MODEL_S),
    Row("POST", "/campaigns/{id}/publish", _PUBLISH, "named"),
    Row("POST", "/campaigns/{id}/pause", _PUBLISH, "named"),
    Row("POST", "/campaigns/{id}/end", _PUBLISH, "named"),
    Row("GET", "/leads", _LEADS_READ, "named"),
    Row("PATCH", "/leads/{id}", _LEADS_WRITE, "named"),
    Row("POST", "/leads/reengage", _PUBLISH, "named"),
    Row("GET", "/integrations/meta/oauth-url", _INTEGRATE, "named"),
    Row("GET", "/integrations/meta/callback", webhook("meta")),
    Row("GET", "/integrations/meta/status", _READ, "named"),
    Row("POST", "/integrations/meta/test", _INTEGRATE, "named"),
    Row("POST", "/integrations/whatsapp/connect", _INTEGRATE, "named"),
    Row("GET", "/integrations/whatsapp/status", _READ, "named"),
    Row("POST", "/integrations/whatsapp/test-message", _INTEGRATE, "named"),
    Row("GET", "/integrations/n8n/status", _READ, "named"),
    Row("POST", "/integrations/openai/test", _INTEGRATE, "named", timeout_s=_MODEL_S),
    Row("GET", "/kpis/tenant", _READ, "named"),
    Row("GET", "/kpis/campaign/{id}", _READ, "named"),
    Row("POST", "/webhooks/whatsapp/reply", _N8N),
    Row("POST", "/ad-groups/create", _WRITE, "named"),
    Row("POST", "/ad-groups/webhook/created", _N8N),
    Row("POST", "/ad-groups/{id}/add-customer", _WRITE, "named"),
    Row("GET", "/ad-groups/campaign/{id}", _READ, "named"),
    Row("GET", "/ad-groups/{id}/invite-link", _READ, "named"),
    Row("GET POST", "/affiliate/profile", _AFFILIATE, "named"),
    Row("GET POST", "/affiliate/campaigns", _AFFILIATE, "named"),
    Row("PATCH", "/affiliate/campaigns/{id}", _AFFILIATE, "named"),
    Row("POST", "/affiliate/campaigns/{id}/banner", _AFFILIATE, "named", timeout_s=_MODEL_S),
    Row("POST", "/affiliate/campaigns/{id}/publish", _AFFILIATE, "named"),
    Row("GET POST", "/public/leads", API_KEY),
    Row("GET PUT", "/public/leads/{id}", API_KEY),
    Row("GET POST", "/public/appointments", API_KEY),
    Row("GET PUT", "/public/appointments/{id}", API_KEY),
)
