"""Routes of AI agents and WhatsApp sessions (seed 001). All of them belong to one named tenant."""

from typing import Final

from gateway.routes.row import PLATFORM_ADMIN, PUBLIC, Row, permission

_READ = permission("agents:read")
_WRITE = permission("agents:write")
_MESSAGES = permission("messages:read")
_MODEL_S = 120.0  # a language model answers inside the request

ROWS: Final = (
    Row("GET", "/agents", _READ, "named"),
    Row("POST", "/agents", _WRITE, "named"),
    Row("GET", "/agents/{id}", _READ, "named"),
    Row("PATCH DELETE", "/agents/{id}", _WRITE, "named"),
    Row("POST", "/whatsapp/{agent_id}/send-message", permission("messages:send"), "named"),
    Row("POST", "/whatsapp/{agent_id}/sessions/init", _WRITE, "named"),
    Row("GET", "/whatsapp/{agent_id}/status", _READ, "named"),
    Row("GET", "/whatsapp/{agent_id}/sessions", _READ, "named"),
    Row("DELETE", "/whatsapp/{agent_id}/sessions/{session_id}", _WRITE, "named"),
    Row("POST", "/ia/ask-to-agent", _READ, "named", timeout_s=_MODEL_S),
    Row("GET", "/ia/ask", _READ, "named", timeout_s=_MODEL_S),
    Row("POST", "/ia/flow/{agent_id}/start", _READ, "named", timeout_s=_MODEL_S),
    Row("POST", "/ia/flow/{agent_id}/continue", _READ, "named", timeout_s=_MODEL_S),
    Row("GET", "/metricas/mensagens-por-periodo", _MESSAGES, "named"),
    Row("GET", "/metricas/conversao-por-agente", _MESSAGES, "named"),
    Row("GET", "/metricas/evolucao-uso", _MESSAGES, "named"),
    Row("GET", "/analytics/conversas-por-dia", _MESSAGES, "named"),
    Row("GET", "/logs", _MESSAGES, "named"),
    Row("GET", "/logs/{log_id}", _MESSAGES, "named"),
    Row("DELETE", "/logs/{log_id}", _WRITE, "named"),
    Row("GET", "/settings/{agent_id}", _READ, "named"),
    Row("PATCH", "/settings/{agent_id}", _WRITE, "named"),
    Row("PATCH", "/settings/{agent_id}/tools", _WRITE, "named"),
    Row("PATCH", "/settings/{agent_id}/voice", _WRITE, "named"),
    Row("GET", "/debug/agents/{id}/status", _WRITE, "named"),
    Row("GET", "/debug/langchain/{agent_id}", _WRITE, "named"),
    Row("GET", "/debug/whatsapp/{agent_id}/connection", _WRITE, "named"),
    Row("GET", "/flows", _READ, "named"),
    Row("POST", "/flows", _WRITE, "named"),
    Row("POST", "/voice/speak", _READ, "named", timeout_s=_MODEL_S),
    Row("POST", "/voice/transcribe", _READ, "named", timeout_s=_MODEL_S),
    Row("GET", "/templates/popularidade", _READ, "named"),
    Row("GET", "/support/faq", PUBLIC),
    Row("POST", "/support/faq", PLATFORM_ADMIN),
    Row("GET", "/support/faq/{id}", PUBLIC),
    Row("PATCH DELETE", "/support/faq/{id}", PLATFORM_ADMIN),
    Row("GET", "/support/videos", PUBLIC),
    Row("GET", "/integrations/docs", _READ, "named"),
    Row("GET", "/integrations/crms", _READ, "named"),
    Row("POST", "/integrations/webhook", _WRITE, "named"),
)
