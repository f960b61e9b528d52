-- Addresses that are not written to again: the server refused them for good, or somebody asked.

CREATE TABLE suppressions (
    id          uuid        NOT NULL,
    tenant_id   uuid        NOT NULL,
    email       text        NOT NULL,  -- lower case
    cause       text        NOT NULL,
    detail      text,
    email_id    uuid,                  -- the mail that bounced; not a foreign key: the log may be pruned
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT suppressions_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT suppressions_address_once UNIQUE (tenant_id, email),
    CONSTRAINT suppressions_cause_is_known CHECK (cause IN ('bounced', 'manual'))
);
COMMENT ON TABLE suppressions IS 'tenant: addresses not to be written to';

ALTER TABLE suppressions ENABLE ROW LEVEL SECURITY;
ALTER TABLE suppressions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON suppressions
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON suppressions TO mailer_platform USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, DELETE ON suppressions TO mailer_app, mailer_platform;
