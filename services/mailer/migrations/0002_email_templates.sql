-- What mails say. A tenant's template overrides the platform's of the same slug.

CREATE TABLE email_templates (
    id                uuid        NOT NULL,
    slug              text        NOT NULL,
    subject           text        NOT NULL,              -- as written, in the language that `syntax` names
    body_html         text        NOT NULL,
    variables         text[]      NOT NULL,              -- what a job has to bring: `name`, or `reset_link:secret`
    tenant_id         uuid        NOT NULL,
    locale            text        NOT NULL,
    syntax            text        NOT NULL,
    subject_jinja     text        NOT NULL,              -- what is rendered: translated once, when it is saved
    body_jinja        text        NOT NULL,
    version           text        NOT NULL,              -- hash of what is rendered: the key of every cache
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT email_templates_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT email_templates_slug_and_locale_once UNIQUE (tenant_id, slug, locale),
    CONSTRAINT email_templates_syntax_is_known CHECK (syntax IN ('jinja', 'handlebars'))
);
COMMENT ON TABLE email_templates IS 'tenant: mail templates; the nil tenant''s are the defaults that every tenant may read';

ALTER TABLE email_templates ENABLE ROW LEVEL SECURITY;
ALTER TABLE email_templates FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON email_templates
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform_defaults ON email_templates FOR SELECT
    USING (tenant_id = '00000000-0000-0000-0000-000000000000');
CREATE POLICY platform ON email_templates TO mailer_platform USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON email_templates TO mailer_app, mailer_platform;
