-- The bus's tables, in the service's own schema (search_path). Run by the owner; may be run again.

CREATE TABLE IF NOT EXISTS outbox (
    id            uuid PRIMARY KEY,
    tenant_id     uuid,
    aggregate_id  uuid NOT NULL,
    version       bigint,
    type          text NOT NULL,
    exchange      text NOT NULL,
    routing_key   text NOT NULL,
    content_type  text NOT NULL,
    headers       jsonb NOT NULL DEFAULT '{}',
    body          bytea NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    available_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts      integer NOT NULL DEFAULT 0,
    last_error    text,
    published_at  timestamptz,
    erased_at     timestamptz,
    -- By which the relay shares its time; rows without a tenant have the platform's.
    lane          uuid GENERATED ALWAYS AS (COALESCE(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid)) STORED,
    -- An erased body must never reach the broker.
    CONSTRAINT outbox_erased_is_published CHECK (erased_at IS NULL OR published_at IS NOT NULL)
);
COMMENT ON TABLE outbox IS 'platform: messages to publish; the id is the AMQP message_id; kept 72 h after publishing';
CREATE INDEX IF NOT EXISTS outbox_pending ON outbox (available_at, id) WHERE published_at IS NULL;
-- Lets the relay take a few rows of each tenant, however many one of them has waiting.
CREATE INDEX IF NOT EXISTS outbox_pending_by_lane ON outbox (lane, available_at, id) WHERE published_at IS NULL;
CREATE INDEX IF NOT EXISTS outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;

-- Only a wake-up: a relay that hears nothing looks every second. The channel is <schema>_outbox.
CREATE OR REPLACE FUNCTION outbox_wake() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM pg_notify(TG_TABLE_SCHEMA || '_outbox', '');
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER outbox_wake AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION outbox_wake();

CREATE TABLE IF NOT EXISTS inbox (
    consumer     text NOT NULL,
    message_id   text NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, message_id)
);
COMMENT ON TABLE inbox IS 'platform: messages whose effects are committed; kept 30 days, longer than anything can be sent again';
CREATE INDEX IF NOT EXISTS inbox_received ON inbox USING brin (received_at);

CREATE TABLE IF NOT EXISTS deliveries (
    queue         text NOT NULL,
    message_key   bytea NOT NULL,
    deaths        integer NOT NULL DEFAULT 0,
    -- The database session of the process that has the message in hand; a session that is gone is a process that died.
    holder_pid    integer,
    holder_since  timestamptz,
    started_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (queue, message_key)
);
COMMENT ON TABLE deliveries IS 'platform: messages in hand, to count the processes that died of one';

CREATE TABLE IF NOT EXISTS dead_letters (
    id            uuid PRIMARY KEY,
    -- Of the last death: tells a redelivery by the dead queue from dying again.
    death_id      uuid NOT NULL,
    queue         text NOT NULL,
    message_id    text,
    type          text,
    tenant_id     uuid,
    reason        text NOT NULL,
    stack_hash    text,
    attempts      integer NOT NULL,
    producer      text,
    content_type  text,
    headers       jsonb NOT NULL,
    body          bytea NOT NULL,
    times         integer NOT NULL DEFAULT 1,
    died_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    resolution    text,
    resolved_at   timestamptz,
    resolved_by   text,
    erased_at     timestamptz,
    CONSTRAINT dead_letters_resolution CHECK (resolution IN ('replayed', 'discarded')),
    CONSTRAINT dead_letters_audit CHECK (num_nulls(resolution, resolved_at, resolved_by) IN (0, 3))
);
COMMENT ON TABLE dead_letters IS 'platform: messages that will not be tried again, until somebody replays or discards them';
CREATE INDEX IF NOT EXISTS dead_letters_open ON dead_letters (died_at, id) WHERE resolution IS NULL;
CREATE INDEX IF NOT EXISTS dead_letters_message ON dead_letters (message_id);

DO $$
DECLARE
    app      text := current_schema() || '_app';
    relay    text := current_schema() || '_relay';
    platform text := current_schema() || '_platform';
BEGIN
    EXECUTE format('GRANT INSERT ON outbox TO %I', app);
    EXECUTE format('GRANT SELECT, INSERT ON inbox TO %I', app);
    EXECUTE format('GRANT SELECT, UPDATE, DELETE ON outbox TO %I', relay);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON outbox, inbox, deliveries, dead_letters TO %I', platform);
END
$$;
