-- People. Who signs in is one row, whatever tenants they belong to; what they are in a tenant is their membership.

CREATE TABLE users (
    id                 uuid        NOT NULL,
    email              text,                               -- lower case; NULL once erased
    name               text        NOT NULL,
    password_hash      text,                               -- argon2id; bcrypt where imported; NULL until one is set
    status             text        NOT NULL,
    email_verified_at  timestamptz,
    is_platform_admin  boolean     NOT NULL DEFAULT false,
    preferences        jsonb       NOT NULL,
    tokens_valid_from  timestamptz NOT NULL,               -- access tokens issued before are refused everywhere
    last_sign_in_at    timestamptz,
    version            bigint      NOT NULL DEFAULT 1,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    erased_at          timestamptz,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_email_once UNIQUE (email),
    CONSTRAINT users_status_is_known CHECK (status IN ('pending', 'active', 'inactive', 'suspended', 'erased')),
    CONSTRAINT users_erased_ones_are_blank
        CHECK ((status = 'erased') = (erased_at IS NOT NULL)
               AND (erased_at IS NULL OR (email IS NULL AND password_hash IS NULL)))
);
COMMENT ON TABLE users IS 'platform: people who sign in; no request of a tenant reads it but through platform code';
GRANT SELECT, INSERT, UPDATE, DELETE ON users TO tenants_platform;

CREATE TABLE memberships (
    tenant_id    uuid        NOT NULL,
    user_id      uuid        NOT NULL,
    email        text,                                     -- as the user's; kept equal by platform code
    name         text        NOT NULL,
    phone        text,
    avatar       text,
    role         text        NOT NULL,                     -- the name of a role of the tenant, or of a default one
    permissions  text[]      NOT NULL,                     -- beyond the role's
    status       text        NOT NULL,
    version      bigint      NOT NULL DEFAULT 1,
    last_sign_in_at timestamptz,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    CONSTRAINT memberships_pkey PRIMARY KEY (tenant_id, user_id),
    CONSTRAINT memberships_of_a_tenant FOREIGN KEY (tenant_id) REFERENCES tenants (tenant_id),
    CONSTRAINT memberships_status_is_known CHECK (status IN ('pending', 'active', 'inactive', 'suspended'))
);
COMMENT ON TABLE memberships IS 'tenant: what a person is in a tenant';
CREATE INDEX memberships_of_user ON memberships (user_id);
CREATE INDEX memberships_newest ON memberships (tenant_id, created_at, user_id);

ALTER TABLE memberships ENABLE ROW LEVEL SECURITY;
ALTER TABLE memberships FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON memberships
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON memberships TO tenants_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON memberships TO tenants_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON memberships TO tenants_platform;

CREATE TABLE invitations (
    tenant_id   uuid        NOT NULL,
    id          uuid        NOT NULL,
    email       text        NOT NULL,
    name        text,
    role        text        NOT NULL,
    status      text        NOT NULL,
    invited_by  text        NOT NULL,
    expires_at  timestamptz NOT NULL,
    created_at  timestamptz NOT NULL,
    ended_at    timestamptz,
    CONSTRAINT invitations_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT invitations_of_a_tenant FOREIGN KEY (tenant_id) REFERENCES tenants (tenant_id),
    CONSTRAINT invitations_status_is_known CHECK (status IN ('open', 'accepted', 'withdrawn'))
);
COMMENT ON TABLE invitations IS 'tenant: people asked to join';
CREATE UNIQUE INDEX invitations_one_open ON invitations (tenant_id, email) WHERE status = 'open';

ALTER TABLE invitations ENABLE ROW LEVEL SECURITY;
ALTER TABLE invitations FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON invitations
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON invitations TO tenants_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON invitations TO tenants_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON invitations TO tenants_platform;
