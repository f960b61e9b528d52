-- The webhook inbox: each event once, before anything is done about it. Raw bytes, because signatures cover them.

CREATE TABLE provider_events (
    id                  uuid        NOT NULL,
    provider            text        NOT NULL,
    account_id          uuid        NOT NULL,
    event_id            text        NOT NULL,              -- the provider's; where it gives none, a hash of the body
    type                text        NOT NULL,
    kind                text        NOT NULL,
    object_external_id  text,
    parent_external_id  text,
    reference           text,
    tenant_id           uuid,                              -- once it is known; never from the request
    payload             bytea       NOT NULL,
    status              text        NOT NULL,
    reason              text,
    attempts            integer     NOT NULL DEFAULT 0,
    deliveries          integer     NOT NULL DEFAULT 1,    -- how often the provider sent it
    occurred_at         timestamptz,
    received_at         timestamptz NOT NULL,
    processed_at        timestamptz,
    CONSTRAINT provider_events_pkey PRIMARY KEY (id),
    CONSTRAINT provider_events_once UNIQUE (provider, account_id, event_id),
    CONSTRAINT provider_events_status_is_known CHECK (status IN ('received', 'processed', 'ignored', 'review', 'failed')),
    CONSTRAINT provider_events_troubled_ones_say_why CHECK (status NOT IN ('review', 'failed') OR reason IS NOT NULL)
);
COMMENT ON TABLE provider_events IS 'platform: verified webhooks of payment providers, kept for replay and reconciliation';
CREATE INDEX provider_events_newest ON provider_events (received_at, id);
CREATE INDEX provider_events_open ON provider_events (received_at) WHERE status IN ('received', 'failed');
GRANT SELECT, INSERT, UPDATE, DELETE ON provider_events TO billing_platform;

-- Runs of the scheduler that must not overlap, and how far they came.
CREATE TABLE schedules (
    name        text        NOT NULL,
    due_at      timestamptz NOT NULL,
    lease_until timestamptz,
    fence       bigint      NOT NULL DEFAULT 0,
    last_result jsonb,
    CONSTRAINT schedules_pkey PRIMARY KEY (name)
);
COMMENT ON TABLE schedules IS 'platform: what the scheduler runs, and when next';
GRANT SELECT, INSERT, UPDATE ON schedules TO billing_platform;
