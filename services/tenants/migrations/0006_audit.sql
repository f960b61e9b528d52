-- The audit log: append-only, numbered without gaps and chained by hashes per tenant. Personal data stands in it only
-- sealed under a key per subject, so that forgetting somebody leaves the chain whole.

CREATE TABLE audit_log (
    tenant_id    uuid        NOT NULL,
    seq          bigint      NOT NULL,
    id           uuid        NOT NULL,                     -- of the event that it came by: once each
    at           timestamptz NOT NULL,
    action       text        NOT NULL,                     -- noun.verb_past, as in user.signed_in
    actor        jsonb       NOT NULL,                     -- {type, id}: no name, no address
    targets      jsonb       NOT NULL,                     -- [{type, id}]
    context      jsonb       NOT NULL,                     -- {request_id, service}
    metadata     jsonb       NOT NULL,
    subject_ref  uuid,                                     -- whose personal data `sealed` holds
    sealed       bytea,                                    -- AES-256-GCM under the subject's key: names, addresses, IP
    prev_hash    bytea       NOT NULL,
    hash         bytea       NOT NULL,                     -- SHA-256(prev_hash || canonical JSON of the row, RFC 8785)
    CONSTRAINT audit_log_pkey PRIMARY KEY (tenant_id, seq),
    CONSTRAINT audit_log_event_once UNIQUE (tenant_id, id),
    CONSTRAINT audit_log_hash_is_sha256 CHECK (octet_length(hash) = 32 AND octet_length(prev_hash) = 32)
);
COMMENT ON TABLE audit_log IS 'tenant: who did what; never changed, never deleted';
CREATE INDEX audit_log_by_action ON audit_log (tenant_id, action, seq);

CREATE FUNCTION audit_log_is_immutable() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'restrict_violation';
END
$$;
REVOKE ALL ON FUNCTION audit_log_is_immutable() FROM PUBLIC;
CREATE TRIGGER audit_log_no_change BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION audit_log_is_immutable();
CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_immutable();
ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_no_change;
ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_no_truncate;

ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_log FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON audit_log
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON audit_log TO tenants_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON audit_log TO tenants_app;
GRANT SELECT, INSERT ON audit_log TO tenants_platform;

CREATE TABLE audit_heads (
    tenant_id  uuid   NOT NULL,
    seq        bigint NOT NULL,
    hash       bytea  NOT NULL,
    CONSTRAINT audit_heads_pkey PRIMARY KEY (tenant_id)
);
COMMENT ON TABLE audit_heads IS 'tenant: the last entry of each chain; its row lock is what keeps the numbers without gaps';

ALTER TABLE audit_heads ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_heads FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON audit_heads
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON audit_heads TO tenants_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON audit_heads TO tenants_app;
GRANT SELECT, INSERT, UPDATE ON audit_heads TO tenants_platform;

CREATE TABLE subject_keys (
    tenant_id    uuid        NOT NULL,
    subject_ref  uuid        NOT NULL,
    key          bytea       NOT NULL,                     -- sealed: AES-256-GCM, AAD tenant|subject_keys|subject
    created_at   timestamptz NOT NULL,
    CONSTRAINT subject_keys_pkey PRIMARY KEY (tenant_id, subject_ref)
);
COMMENT ON TABLE subject_keys IS 'tenant: keys of personal data in the audit log; deleting one is forgetting its subject';

ALTER TABLE subject_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE subject_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON subject_keys
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON subject_keys TO tenants_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON subject_keys TO tenants_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON subject_keys TO tenants_platform;
