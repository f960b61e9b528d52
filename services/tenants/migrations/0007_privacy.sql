-- Requests of people about their data (LGPD, art. 18), and each service's report on its part.

CREATE TABLE privacy_requests (
    tenant_id     uuid        NOT NULL,
    id            uuid        NOT NULL,
    kind          text        NOT NULL,
    user_id       uuid        NOT NULL,
    subject_email_sha256 bytea NOT NULL,                   -- the address itself is what is to be forgotten
    status        text        NOT NULL,
    requested_by  text        NOT NULL,
    result        jsonb,
    created_at    timestamptz NOT NULL,
    ended_at      timestamptz,
    CONSTRAINT privacy_requests_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT privacy_requests_kind_is_known CHECK (kind IN ('erasure', 'export')),
    CONSTRAINT privacy_requests_status_is_known CHECK (status IN ('running', 'done'))
);
COMMENT ON TABLE privacy_requests IS 'tenant: erasures and exports asked for';

ALTER TABLE privacy_requests ENABLE ROW LEVEL SECURITY;
ALTER TABLE privacy_requests FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON privacy_requests
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON privacy_requests TO tenants_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON privacy_requests TO tenants_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON privacy_requests TO tenants_platform;

CREATE TABLE privacy_reports (
    tenant_id   uuid        NOT NULL,
    request_id  uuid        NOT NULL,
    service     text        NOT NULL,
    erased      text[]      NOT NULL,
    kept        text[]      NOT NULL,                      -- each with its legal reason
    at          timestamptz NOT NULL,
    CONSTRAINT privacy_reports_pkey PRIMARY KEY (tenant_id, request_id, service),
    CONSTRAINT privacy_reports_of_a_request
        FOREIGN KEY (tenant_id, request_id) REFERENCES privacy_requests (tenant_id, id)
);
COMMENT ON TABLE privacy_reports IS 'tenant: what each service erased and kept';

ALTER TABLE privacy_reports ENABLE ROW LEVEL SECURITY;
ALTER TABLE privacy_reports FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON privacy_reports
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON privacy_reports TO tenants_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON privacy_reports TO tenants_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON privacy_reports TO tenants_platform;

CREATE TABLE consents (
    tenant_id   uuid        NOT NULL,
    id          uuid        NOT NULL,
    user_id     uuid        NOT NULL,
    purpose     text        NOT NULL,
    given       boolean     NOT NULL,
    at          timestamptz NOT NULL,
    CONSTRAINT consents_pkey PRIMARY KEY (tenant_id, id)
);
COMMENT ON TABLE consents IS 'tenant: consents given and withdrawn; the newest of a purpose counts';
CREATE INDEX consents_of_user ON consents (tenant_id, user_id, purpose, id);

ALTER TABLE consents ENABLE ROW LEVEL SECURITY;
ALTER TABLE consents FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON consents
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON consents TO tenants_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON consents TO tenants_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON consents TO tenants_platform;
