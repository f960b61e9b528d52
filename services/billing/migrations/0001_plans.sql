-- What is sold. A price is never changed: a new one takes its place, and running subscriptions keep theirs.

CREATE TABLE plans (
    id                   uuid        NOT NULL,
    tenant_id            uuid        NOT NULL,
    slug                 text        NOT NULL,
    name                 text        NOT NULL,
    description          text        NOT NULL,
    features             text[]      NOT NULL,
    limits               jsonb       NOT NULL,             -- name -> whole number; what the product enforces
    trial_days           integer     NOT NULL,
    status               text        NOT NULL,
    product_external_id  text,                             -- Stripe's product, once the plan was pushed
    version              bigint      NOT NULL DEFAULT 1,
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    archived_at          timestamptz,
    CONSTRAINT plans_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT plans_status_is_known CHECK (status IN ('active', 'archived')),
    CONSTRAINT plans_archived_ones_say_when CHECK ((status = 'archived') = (archived_at IS NOT NULL)),
    CONSTRAINT plans_trial_is_bounded CHECK (trial_days BETWEEN 0 AND 730)
);
COMMENT ON TABLE plans IS 'tenant: plans for sale; the nil tenant''s are the platform''s, which everybody may read';
-- An archived plan gives its slug free.
CREATE UNIQUE INDEX plans_slug_once ON plans (tenant_id, slug) WHERE status = 'active';

ALTER TABLE plans ENABLE ROW LEVEL SECURITY;
ALTER TABLE plans FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON plans
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform_defaults ON plans FOR SELECT
    USING (tenant_id = '00000000-0000-0000-0000-000000000000');
CREATE POLICY platform ON plans TO billing_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON plans TO billing_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON plans TO billing_platform;

CREATE TABLE plan_prices (
    id                 uuid        NOT NULL,
    tenant_id          uuid        NOT NULL,
    plan_id            uuid        NOT NULL,
    interval           text        NOT NULL,
    currency           text        NOT NULL,
    amount_cents       bigint      NOT NULL,
    price_external_id  text,                               -- Stripe's price, once pushed
    created_at         timestamptz NOT NULL,
    retired_at         timestamptz,                        -- no longer sold; who bought it keeps it
    CONSTRAINT plan_prices_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT plan_prices_of_a_plan FOREIGN KEY (tenant_id, plan_id) REFERENCES plans (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT plan_prices_interval_is_known CHECK (interval IN ('month', 'year')),
    CONSTRAINT plan_prices_currency_is_iso CHECK (currency ~ '^[A-Z]{3}$'),
    -- A price of zero is how an unknown plan was once given away.
    CONSTRAINT plan_prices_amount_is_positive CHECK (amount_cents > 0)
);
COMMENT ON TABLE plan_prices IS 'tenant: versioned prices of plans; the nil tenant''s are the platform''s';
CREATE UNIQUE INDEX plan_prices_one_for_sale ON plan_prices (tenant_id, plan_id, interval, currency)
    WHERE retired_at IS NULL;
CREATE INDEX plan_prices_of_plan ON plan_prices (tenant_id, plan_id);

ALTER TABLE plan_prices ENABLE ROW LEVEL SECURITY;
ALTER TABLE plan_prices FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON plan_prices
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform_defaults ON plan_prices FOR SELECT
    USING (tenant_id = '00000000-0000-0000-0000-000000000000');
CREATE POLICY platform ON plan_prices TO billing_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON plan_prices TO billing_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON plan_prices TO billing_platform;
