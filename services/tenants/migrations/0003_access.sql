-- Roles and what they allow, and API keys. Defaults are the nil tenant's; a tenant's role of the same name overrides.

CREATE TABLE permissions (
    key          text NOT NULL,                            -- noun:verb
    description  text NOT NULL,
    service      text NOT NULL,
    CONSTRAINT permissions_pkey PRIMARY KEY (key),
    CONSTRAINT permissions_key_is_noun_and_verb CHECK (key ~ '^[a-z_]+:[a-z_]+$')
);
COMMENT ON TABLE permissions IS 'platform: every permission that a route asks for';
GRANT SELECT ON permissions TO tenants_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON permissions TO tenants_platform;

CREATE TABLE roles (
    tenant_id    uuid        NOT NULL,
    id           uuid        NOT NULL,
    name         text        NOT NULL,
    description  text        NOT NULL,
    version      bigint      NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT roles_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT roles_name_once UNIQUE (tenant_id, name),
    CONSTRAINT roles_name_is_plain CHECK (name ~ '^[a-z][a-z0-9_]{0,62}$')
);
COMMENT ON TABLE roles IS 'tenant: roles; the nil tenant''s are the defaults of every tenant';

ALTER TABLE roles ENABLE ROW LEVEL SECURITY;
ALTER TABLE roles FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON roles
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform_defaults ON roles FOR SELECT
    USING (tenant_id = '00000000-0000-0000-0000-000000000000');
CREATE POLICY platform ON roles TO tenants_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON roles TO tenants_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON roles TO tenants_platform;

CREATE TABLE role_permissions (
    tenant_id   uuid NOT NULL,
    role_id     uuid NOT NULL,
    permission  text NOT NULL,
    CONSTRAINT role_permissions_pkey PRIMARY KEY (tenant_id, role_id, permission),
    CONSTRAINT role_permissions_of_a_role
        FOREIGN KEY (tenant_id, role_id) REFERENCES roles (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT role_permissions_of_a_permission FOREIGN KEY (permission) REFERENCES permissions (key)
);
COMMENT ON TABLE role_permissions IS 'tenant: what a role allows';

ALTER TABLE role_permissions ENABLE ROW LEVEL SECURITY;
ALTER TABLE role_permissions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON role_permissions
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform_defaults ON role_permissions FOR SELECT
    USING (tenant_id = '00000000-0000-0000-0000-000000000000');
CREATE POLICY platform ON role_permissions TO tenants_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON role_permissions TO tenants_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON role_permissions TO tenants_platform;

CREATE TABLE api_keys (
    tenant_id     uuid        NOT NULL,
    id            uuid        NOT NULL,
    name          text        NOT NULL,
    description   text        NOT NULL,
    prefix        text        NOT NULL,                    -- what of the key may be shown: nxs_1a2b3c
    key_sha256    bytea       NOT NULL,
    scopes        text[]      NOT NULL,                    -- permissions, or read, write, full (seed 002)
    allowed_ips   text[]      NOT NULL,                    -- addresses or networks; none: any
    rate_limit    integer     NOT NULL,                    -- requests an hour
    status        text        NOT NULL,
    expires_at    timestamptz,
    last_used_at  timestamptz,
    usage_count   bigint      NOT NULL DEFAULT 0,
    replaces_id   uuid,                                    -- the key that this one takes over from; both live a while
    created_by    text        NOT NULL,
    version       bigint      NOT NULL DEFAULT 1,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    revoked_at    timestamptz,
    CONSTRAINT api_keys_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT api_keys_status_is_known CHECK (status IN ('active', 'revoked')),
    CONSTRAINT api_keys_revoked_ones_say_when CHECK ((status = 'revoked') = (revoked_at IS NOT NULL))
);
COMMENT ON TABLE api_keys IS 'tenant: keys of programs, as hashes';

ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON api_keys
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON api_keys TO tenants_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON api_keys TO tenants_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON api_keys TO tenants_platform;

CREATE TABLE api_key_hashes (
    key_sha256  bytea NOT NULL,
    tenant_id   uuid  NOT NULL,
    key_id      uuid  NOT NULL,
    CONSTRAINT api_key_hashes_pkey PRIMARY KEY (key_sha256)
);
COMMENT ON TABLE api_key_hashes IS 'directory: hash of an API key -> tenant and key';

ALTER TABLE api_key_hashes ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_key_hashes FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON api_key_hashes
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON api_key_hashes TO tenants_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON api_key_hashes TO tenants_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON api_key_hashes TO tenants_platform;
