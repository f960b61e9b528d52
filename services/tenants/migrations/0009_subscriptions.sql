-- What billing told of each tenant's subscriptions, the newest of each: limits and access come of all of them together,
-- so that it does not matter in which order the events arrive. An event may come before the tenant: no foreign key.

CREATE TABLE tenant_subscriptions (
    tenant_id        uuid        NOT NULL,
    subscription_id  uuid        NOT NULL,
    version          bigint      NOT NULL,                 -- billing's; 0: of the order, before any event of its own
    status           text        NOT NULL,                 -- billing's word
    plan_slug        text        NOT NULL,
    limits           jsonb       NOT NULL,
    paid_until       timestamptz,                          -- of one that has ended: the last day that was paid for
    told_at          timestamptz NOT NULL,
    CONSTRAINT tenant_subscriptions_pkey PRIMARY KEY (tenant_id, subscription_id)
);
COMMENT ON TABLE tenant_subscriptions IS 'tenant: what it subscribes to, as billing told it last';

ALTER TABLE tenant_subscriptions ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_subscriptions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenant_subscriptions
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON tenant_subscriptions TO tenants_platform USING (true) WITH CHECK (true);
GRANT SELECT ON tenant_subscriptions TO tenants_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_subscriptions TO tenants_platform;

-- One number cannot say which of several subscriptions it is of.
ALTER TABLE tenants DROP COLUMN subscription_version;

CREATE INDEX payment_claims_of_tenant ON payment_claims (tenant_id, status);
CREATE INDEX invitations_of_role ON invitations (tenant_id, role) WHERE status = 'open';
