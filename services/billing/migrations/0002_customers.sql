-- Who pays. Rows sold by the platform belong to the buying tenant; rows sold by a tenant belong to the selling one.

CREATE TABLE customers (
    id            uuid        NOT NULL,
    tenant_id     uuid        NOT NULL,
    sold_by       text        NOT NULL,
    email         text,                                    -- lower case
    name          text,
    tax_id        bytea,                                   -- CPF or CNPJ, sealed: AES-256-GCM, AAD tenant|table|id
    phone         text,
    lead_id       text,                                    -- seed 002: the CRM's own key of a tenant's customer
    is_provisional boolean    NOT NULL DEFAULT false,      -- its tenant was minted for an order and nobody owns it yet
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    erased_at     timestamptz,
    CONSTRAINT customers_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT customers_sold_by_is_known CHECK (sold_by IN ('platform', 'tenant')),
    CONSTRAINT customers_erased_ones_are_blank
        CHECK (erased_at IS NULL OR (email IS NULL AND name IS NULL AND tax_id IS NULL AND phone IS NULL))
);
COMMENT ON TABLE customers IS 'tenant: payers; of the platform (the tenant itself) or of the tenant (its own customers)';
CREATE UNIQUE INDEX customers_platform_email_once ON customers (tenant_id, email)
    WHERE sold_by = 'platform' AND email IS NOT NULL;
CREATE INDEX customers_of_lead ON customers (tenant_id, lead_id) WHERE lead_id IS NOT NULL;

ALTER TABLE customers ENABLE ROW LEVEL SECURITY;
ALTER TABLE customers FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON customers
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON customers TO billing_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON customers TO billing_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON customers TO billing_platform;

CREATE TABLE customer_accounts (
    tenant_id    uuid        NOT NULL,
    customer_id  uuid        NOT NULL,
    provider     text        NOT NULL,
    account_id   uuid        NOT NULL,                     -- provider_accounts.id, or the nil UUID: the platform's own
    external_id  text        NOT NULL,
    created_at   timestamptz NOT NULL,
    CONSTRAINT customer_accounts_pkey PRIMARY KEY (tenant_id, customer_id, provider, account_id),
    CONSTRAINT customer_accounts_of_a_customer
        FOREIGN KEY (tenant_id, customer_id) REFERENCES customers (tenant_id, id)
);
COMMENT ON TABLE customer_accounts IS 'tenant: what a customer is called at a provider';

ALTER TABLE customer_accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE customer_accounts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON customer_accounts
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON customer_accounts TO billing_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON customer_accounts TO billing_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON customer_accounts TO billing_platform;
