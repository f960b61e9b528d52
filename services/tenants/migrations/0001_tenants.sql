-- Companies. A tenant's own row is keyed by the tenant itself. The README draws the states.

CREATE TABLE tenants (
    tenant_id         uuid        NOT NULL,
    parent_tenant_id  uuid,                                -- its reseller; nothing is inherited yet
    name              text        NOT NULL,
    slug              text        NOT NULL,
    domain            text,
    category          text,                                -- seed 004
    address           jsonb       NOT NULL,
    phone             text,
    branding          jsonb       NOT NULL,                -- name -> text: brand_color, logo_url, ...
    limits            jsonb       NOT NULL,                -- name -> whole number, of the plan it has
    plan_slug         text,
    status            text        NOT NULL,
    status_reason     text,
    access_until      timestamptz,                         -- an unpaid tenant keeps access until then
    subscription_version bigint   NOT NULL DEFAULT 0,      -- of billing's event that limits and access come of
    version           bigint      NOT NULL DEFAULT 1,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    CONSTRAINT tenants_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT tenants_status_is_known CHECK (status IN ('pending', 'active', 'suspended', 'closed')),
    CONSTRAINT tenants_suspended_ones_say_why CHECK (status <> 'suspended' OR status_reason IS NOT NULL),
    CONSTRAINT tenants_slug_is_plain CHECK (slug ~ '^[a-z0-9-]{1,63}$')
);
COMMENT ON TABLE tenants IS 'tenant: companies';
CREATE INDEX tenants_grace ON tenants (access_until) WHERE access_until IS NOT NULL;

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenants
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON tenants TO tenants_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON tenants TO tenants_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenants TO tenants_platform;

CREATE TABLE tenant_names (
    kind       text NOT NULL,
    name       text NOT NULL,                              -- lower case
    tenant_id  uuid NOT NULL,
    CONSTRAINT tenant_names_pkey PRIMARY KEY (kind, name),
    CONSTRAINT tenant_names_kind_is_known CHECK (kind IN ('slug', 'domain'))
);
COMMENT ON TABLE tenant_names IS 'directory: slug or domain -> tenant';
CREATE INDEX tenant_names_of_tenant ON tenant_names (tenant_id);

ALTER TABLE tenant_names ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_names FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenant_names
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON tenant_names TO tenants_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON tenant_names TO tenants_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_names TO tenants_platform;
