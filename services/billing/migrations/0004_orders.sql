-- What somebody set out to buy, and everything that happened to it. The README draws the states.

CREATE TABLE orders (
    id              uuid        NOT NULL,
    tenant_id       uuid        NOT NULL,
    sold_by         text        NOT NULL,
    customer_id     uuid        NOT NULL,
    plan_id         uuid        NOT NULL,                  -- of the platform's plans; what was sold stands here beside it
    plan_slug       text        NOT NULL,
    plan_name       text        NOT NULL,
    price_id        uuid        NOT NULL,
    interval        text        NOT NULL,
    amount_cents    bigint      NOT NULL,
    currency        text        NOT NULL,
    trial_days      integer     NOT NULL,
    limits          jsonb       NOT NULL,
    status          text        NOT NULL,
    provider        text        NOT NULL,
    account_id      uuid        NOT NULL,
    external_id     text,                                  -- the payment page's
    checkout_url    text,
    source          text        NOT NULL,                  -- the route or event it came by
    buyer_email     text,
    buyer_name      text,
    is_new_tenant   boolean     NOT NULL,
    claim_id        uuid,                                  -- tenants.payment.claimed that asked about it
    failure_reason  text,
    version         bigint      NOT NULL DEFAULT 1,
    placed_at       timestamptz NOT NULL,
    paid_at         timestamptz,
    ended_at        timestamptz,
    expires_at      timestamptz,
    updated_at      timestamptz NOT NULL,
    CONSTRAINT orders_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT orders_of_a_customer FOREIGN KEY (tenant_id, customer_id) REFERENCES customers (tenant_id, id),
    CONSTRAINT orders_sold_by_is_known CHECK (sold_by IN ('platform', 'tenant')),
    CONSTRAINT orders_status_is_known CHECK (status IN ('pending', 'paid', 'failed', 'cancelled', 'refunded')),
    CONSTRAINT orders_paid_ones_say_when CHECK (status NOT IN ('paid', 'refunded') OR paid_at IS NOT NULL),
    CONSTRAINT orders_failed_ones_say_why CHECK (status <> 'failed' OR failure_reason IS NOT NULL),
    CONSTRAINT orders_amount_is_positive CHECK (amount_cents > 0)
);
COMMENT ON TABLE orders IS 'tenant: purchases of plans';
CREATE INDEX orders_newest ON orders (tenant_id, id);
CREATE INDEX orders_waiting ON orders (placed_at) WHERE status = 'pending';

ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
ALTER TABLE orders FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON orders
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON orders TO billing_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON orders TO billing_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO billing_platform;

CREATE TABLE order_events (
    id         uuid        NOT NULL,
    tenant_id  uuid        NOT NULL,
    order_id   uuid        NOT NULL,
    kind       text        NOT NULL,                       -- placed, page_opened, paid, invoice_paid, mail_queued, ...
    detail     jsonb       NOT NULL,
    at         timestamptz NOT NULL,
    CONSTRAINT order_events_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT order_events_of_an_order FOREIGN KEY (tenant_id, order_id) REFERENCES orders (tenant_id, id)
);
COMMENT ON TABLE order_events IS 'tenant: the timeline of an order; only ever added to';
CREATE INDEX order_events_of_order ON order_events (tenant_id, order_id, id);

ALTER TABLE order_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE order_events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON order_events
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON order_events TO billing_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON order_events TO billing_app;
GRANT SELECT, INSERT ON order_events TO billing_platform;

-- Calls to a provider: key and parameters stand here, committed, before the first try; a repeat uses both unchanged.
CREATE TABLE provider_calls (
    id          uuid        NOT NULL,
    tenant_id   uuid        NOT NULL,
    provider    text        NOT NULL,
    account_id  uuid        NOT NULL,
    operation   text        NOT NULL,
    key         text        NOT NULL,                      -- derived from ids of ours
    params      jsonb       NOT NULL,
    status      text        NOT NULL,
    result      jsonb,
    error       text,
    attempts    integer     NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    CONSTRAINT provider_calls_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT provider_calls_key_once UNIQUE (tenant_id, provider, key),
    CONSTRAINT provider_calls_status_is_known CHECK (status IN ('planned', 'unknown', 'done', 'refused')),
    CONSTRAINT provider_calls_done_ones_have_a_result CHECK ((status = 'done') = (result IS NOT NULL)),
    CONSTRAINT provider_calls_refused_ones_say_why CHECK (status <> 'refused' OR error IS NOT NULL)
);
COMMENT ON TABLE provider_calls IS 'tenant: what was asked of a provider, under which key, and what came of it';
CREATE INDEX provider_calls_open ON provider_calls (updated_at) WHERE status IN ('planned', 'unknown');

ALTER TABLE provider_calls ENABLE ROW LEVEL SECURITY;
ALTER TABLE provider_calls FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON provider_calls
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON provider_calls TO billing_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON provider_calls TO billing_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON provider_calls TO billing_platform;
