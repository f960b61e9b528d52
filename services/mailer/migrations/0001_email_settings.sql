-- Whose SMTP server sends a tenant's mail. The first eleven columns keep the names of the system that this one replaces.

CREATE TABLE email_settings (
    id            uuid        NOT NULL,
    provider      text        NOT NULL,
    smtp_host     text        NOT NULL,
    smtp_port     integer     NOT NULL,
    smtp_user     text,
    smtp_pass     bytea,                 -- sealed: AES-256-GCM, AAD tenant|table|id
    smtp_secure   boolean     NOT NULL,  -- true: TLS from the first byte; false: STARTTLS where the server offers it
    sender_name   text,
    sender_email  text        NOT NULL,
    amqp_url      bytea,                 -- sealed; imported so that nothing is lost, read by nobody: AMQP_URL decides
    is_active     boolean     NOT NULL,
    tenant_id     uuid        NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT email_settings_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT email_settings_port_is_a_port CHECK (smtp_port BETWEEN 1 AND 65535),
    CONSTRAINT email_settings_password_has_a_user CHECK (smtp_pass IS NULL OR smtp_user IS NOT NULL)
);
COMMENT ON TABLE email_settings IS 'tenant: SMTP servers; the nil tenant''s active row serves every tenant without its own';

CREATE UNIQUE INDEX email_settings_one_active ON email_settings (tenant_id) WHERE is_active;

ALTER TABLE email_settings ENABLE ROW LEVEL SECURITY;
ALTER TABLE email_settings FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON email_settings
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON email_settings TO mailer_platform USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON email_settings TO mailer_app, mailer_platform;
