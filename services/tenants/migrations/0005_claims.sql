-- Payments that a checkout site says were made, until billing says whether they were.

CREATE TABLE payment_claims (
    tenant_id     uuid        NOT NULL,
    id            uuid        NOT NULL,
    session_id    text        NOT NULL,
    user_id       uuid        NOT NULL,
    email         text,
    name          text,
    plan_slug     text        NOT NULL,
    amount_cents  bigint,
    is_attested   boolean     NOT NULL,
    is_new_user   boolean     NOT NULL,
    is_new_tenant boolean     NOT NULL,
    status        text        NOT NULL,
    reason        text,
    made_by       text        NOT NULL,                    -- the API key's id
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    ended_at      timestamptz,
    CONSTRAINT payment_claims_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT payment_claims_status_is_known CHECK (status IN ('pending', 'confirmed', 'refused', 'expired')),
    CONSTRAINT payment_claims_ended_ones_say_when CHECK ((status = 'pending') = (ended_at IS NULL))
);
COMMENT ON TABLE payment_claims IS 'tenant: claimed payments and what billing said of them';
CREATE INDEX payment_claims_waiting ON payment_claims (expires_at) WHERE status = 'pending';

ALTER TABLE payment_claims ENABLE ROW LEVEL SECURITY;
ALTER TABLE payment_claims FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON payment_claims
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON payment_claims TO tenants_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON payment_claims TO tenants_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON payment_claims TO tenants_platform;

CREATE TABLE payment_sessions (
    session_id  text NOT NULL,
    tenant_id   uuid NOT NULL,
    claim_id    uuid NOT NULL,
    CONSTRAINT payment_sessions_pkey PRIMARY KEY (session_id)
);
COMMENT ON TABLE payment_sessions IS 'directory: a checkout session -> the tenant and claim that it was used for, once';

ALTER TABLE payment_sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE payment_sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON payment_sessions
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON payment_sessions TO tenants_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON payment_sessions TO tenants_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON payment_sessions TO tenants_platform;
