-- The work queue and the delivery log in one: a row per recipient, so that one bounce is one row's fate.
-- The README draws the states; a row is somebody's to take exactly when due_at has passed.

CREATE TABLE emails (
    id                uuid        NOT NULL,
    tenant_id         uuid        NOT NULL,
    status            text        NOT NULL,
    to_email          text        NOT NULL,
    to_name           text,
    template          text        NOT NULL,              -- the slug that the job named
    locale            text,                              -- as the job asked; NULL: the default
    variables         jsonb       NOT NULL,              -- secret ones stand here masked
    secret_variables  bytea,                             -- sealed JSON object; erased once the fate is decided
    message_id        text        NOT NULL,              -- of the mail: fixed before the first attempt, the same in every one
    job_id            text,                              -- the job's AMQP message_id: finds its copies when secrets are erased
    traceparent       text,                              -- of the job, carried on to the events
    attempts          integer     NOT NULL DEFAULT 0,    -- tries whose end was recorded
    lost_claims       integer     NOT NULL DEFAULT 0,    -- claims in a row whose end was not: the process died
    fence             bigint      NOT NULL DEFAULT 0,    -- grows by each claim; only the latest claimer may record
    due_at            timestamptz,                       -- queued, deferred: the next try; sending: the end of the lease
    smtp_code         integer,                           -- the server's last answer
    reason            text,                              -- why it is not sent, in words for the log
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    sent_at           timestamptz,
    CONSTRAINT emails_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT emails_status_is_known
        CHECK (status IN ('queued', 'sending', 'deferred', 'sent', 'bounced', 'suppressed', 'failed')),
    CONSTRAINT emails_waiting_ones_are_due CHECK ((status IN ('queued', 'sending', 'deferred')) = (due_at IS NOT NULL)),
    CONSTRAINT emails_decided_ones_keep_no_secret CHECK (due_at IS NOT NULL OR secret_variables IS NULL),
    CONSTRAINT emails_sent_ones_say_when CHECK ((status = 'sent') = (sent_at IS NOT NULL)),
    CONSTRAINT emails_unsent_ones_say_why
        CHECK (status IN ('queued', 'sending', 'sent') OR reason IS NOT NULL)
);
COMMENT ON TABLE emails IS 'tenant: delivery log and work queue';

CREATE INDEX emails_due ON emails (tenant_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX emails_newest ON emails (tenant_id, created_at, id);
CREATE INDEX emails_of_recipient ON emails (tenant_id, to_email, created_at, id);
CREATE INDEX emails_in_trouble ON emails (tenant_id, status, created_at, id)
    WHERE status IN ('deferred', 'bounced', 'suppressed', 'failed');

ALTER TABLE emails ENABLE ROW LEVEL SECURITY;
ALTER TABLE emails FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON emails
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON emails TO mailer_platform USING (true) WITH CHECK (true);

GRANT SELECT ON emails TO mailer_app;  -- a request reads the log; only the worker writes it
GRANT SELECT, INSERT, UPDATE, DELETE ON emails TO mailer_platform;
