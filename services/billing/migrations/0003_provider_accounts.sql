-- Credentials at payment providers. The platform's own come from the environment and are no row: their id is nil.

CREATE TABLE provider_accounts (
    id               uuid        NOT NULL,
    tenant_id        uuid        NOT NULL,
    provider         text        NOT NULL,
    environment      text        NOT NULL,
    api_key          bytea       NOT NULL,                 -- sealed, as all four
    api_key_hint     text        NOT NULL,                 -- what of it may be shown: ****1234
    api_secret       bytea,
    webhook_secret   bytea,
    config           jsonb       NOT NULL,
    is_active        boolean     NOT NULL,
    created_by       text        NOT NULL,
    updated_by       text        NOT NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    CONSTRAINT provider_accounts_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT provider_accounts_once UNIQUE (tenant_id, provider, environment),
    CONSTRAINT provider_accounts_provider_is_known CHECK (provider IN ('stripe', 'asaas', 'pagbank')),
    CONSTRAINT provider_accounts_environment_is_known CHECK (environment IN ('production', 'sandbox'))
);
COMMENT ON TABLE provider_accounts IS 'tenant: credentials of the tenant''s own accounts at payment providers';

ALTER TABLE provider_accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE provider_accounts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON provider_accounts
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON provider_accounts TO billing_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON provider_accounts TO billing_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON provider_accounts TO billing_platform;

-- A webhook names no tenant. Static tokens are found by their hash; two accounts never share one.
CREATE TABLE webhook_tokens (
    provider      text        NOT NULL,
    token_sha256  bytea       NOT NULL,
    tenant_id     uuid        NOT NULL,
    account_id    uuid        NOT NULL,
    CONSTRAINT webhook_tokens_pkey PRIMARY KEY (provider, token_sha256)
);
COMMENT ON TABLE webhook_tokens IS 'directory: hash of a webhook token -> tenant and provider account';
CREATE INDEX webhook_tokens_of_account ON webhook_tokens (tenant_id, account_id);

ALTER TABLE webhook_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_tokens FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON webhook_tokens
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON webhook_tokens TO billing_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON webhook_tokens TO billing_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_tokens TO billing_platform;

-- What a provider's object is of ours. `reference` rows are ids of ours that the provider was given.
CREATE TABLE provider_objects (
    provider     text        NOT NULL,
    account_id   uuid        NOT NULL,
    kind         text        NOT NULL,
    external_id  text        NOT NULL,
    tenant_id    uuid        NOT NULL,
    object_id    uuid        NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    -- One provider's object is one of ours: no payment can be credited twice, to one tenant or to two.
    CONSTRAINT provider_objects_pkey PRIMARY KEY (provider, account_id, kind, external_id),
    CONSTRAINT provider_objects_kind_is_known
        CHECK (kind IN ('reference', 'checkout', 'subscription', 'invoice', 'payment', 'customer', 'end_to_end', 'txid'))
);
COMMENT ON TABLE provider_objects IS 'directory: a provider''s object -> tenant and our object';
CREATE INDEX provider_objects_of_ours ON provider_objects (tenant_id, object_id);

ALTER TABLE provider_objects ENABLE ROW LEVEL SECURITY;
ALTER TABLE provider_objects FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON provider_objects
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON provider_objects TO billing_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON provider_objects TO billing_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON provider_objects TO billing_platform;

CREATE TABLE email_owners (
    email       text        NOT NULL,                      -- lower case
    tenant_id   uuid        NOT NULL,
    user_id     uuid,                                      -- NULL: minted by an order, until the tenants service knows it
    updated_at  timestamptz NOT NULL,
    CONSTRAINT email_owners_pkey PRIMARY KEY (email)
);
COMMENT ON TABLE email_owners IS 'directory: an e-mail address -> the tenant that a purchase without sign-in belongs to';

ALTER TABLE email_owners ENABLE ROW LEVEL SECURITY;
ALTER TABLE email_owners FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON email_owners
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON email_owners TO billing_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON email_owners TO billing_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON email_owners TO billing_platform;
