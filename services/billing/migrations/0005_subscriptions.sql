-- What a tenant has a running right to. The README draws the states.

CREATE TABLE subscriptions (
    id                    uuid        NOT NULL,
    tenant_id             uuid        NOT NULL,
    sold_by               text        NOT NULL,
    customer_id           uuid        NOT NULL,
    order_id              uuid,
    plan_id               uuid        NOT NULL,
    plan_slug             text        NOT NULL,
    plan_name             text        NOT NULL,
    price_id              uuid        NOT NULL,            -- the version that was bought; a newer price does not touch it
    interval              text        NOT NULL,
    amount_cents          bigint      NOT NULL,
    currency              text        NOT NULL,
    limits                jsonb       NOT NULL,
    status                text        NOT NULL,
    provider              text        NOT NULL,
    account_id            uuid        NOT NULL,
    external_id           text,                            -- NULL: we run the cycle ourselves, an invoice and a charge each
    item_external_id      text,
    current_period_start  timestamptz,
    current_period_end    timestamptz,
    trial_end             timestamptz,
    cancel_at_period_end  boolean     NOT NULL DEFAULT false,
    cancelled_at          timestamptz,
    cancel_reason         text,
    next_price_id         uuid,                            -- a change of plan that waits for the end of the period
    next_plan_id          uuid,
    trial_notice_at       timestamptz,                     -- when the end of the trial was announced
    past_due_since        timestamptz,                     -- the first failed payment not yet made good
    dunning_step          integer     NOT NULL DEFAULT 0,  -- notices sent since then
    next_dunning_at       timestamptz,
    renews_at             timestamptz,                     -- own cycle: when the next invoice is made
    observed_at           timestamptz,                     -- when the provider's state, as it stands here, was asked for
    version               bigint      NOT NULL DEFAULT 1,
    created_at            timestamptz NOT NULL,
    updated_at            timestamptz NOT NULL,
    CONSTRAINT subscriptions_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT subscriptions_external_once UNIQUE (tenant_id, provider, account_id, external_id),
    CONSTRAINT subscriptions_one_per_order UNIQUE (tenant_id, order_id),
    CONSTRAINT subscriptions_of_a_customer FOREIGN KEY (tenant_id, customer_id) REFERENCES customers (tenant_id, id),
    CONSTRAINT subscriptions_of_an_order FOREIGN KEY (tenant_id, order_id) REFERENCES orders (tenant_id, id),
    CONSTRAINT subscriptions_sold_by_is_known CHECK (sold_by IN ('platform', 'tenant')),
    CONSTRAINT subscriptions_status_is_known
        CHECK (status IN ('incomplete', 'trialing', 'active', 'past_due', 'paused', 'suspended', 'cancelled')),
    CONSTRAINT subscriptions_cancelled_ones_say_when CHECK ((status = 'cancelled') = (cancelled_at IS NOT NULL)),
    CONSTRAINT subscriptions_late_ones_say_since_when
        CHECK (status NOT IN ('past_due', 'suspended') OR past_due_since IS NOT NULL),
    CONSTRAINT subscriptions_next_price_has_a_plan CHECK (num_nulls(next_price_id, next_plan_id) IN (0, 2))
);
COMMENT ON TABLE subscriptions IS 'tenant: running rights to a plan';
CREATE INDEX subscriptions_dunning ON subscriptions (next_dunning_at) WHERE next_dunning_at IS NOT NULL;
CREATE INDEX subscriptions_renewing ON subscriptions (renews_at) WHERE renews_at IS NOT NULL;
CREATE INDEX subscriptions_trials ON subscriptions (trial_end) WHERE status = 'trialing' AND trial_notice_at IS NULL;
CREATE INDEX subscriptions_of_plan ON subscriptions (plan_id);

ALTER TABLE subscriptions ENABLE ROW LEVEL SECURITY;
ALTER TABLE subscriptions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON subscriptions
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON subscriptions TO billing_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON subscriptions TO billing_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON subscriptions TO billing_platform;
