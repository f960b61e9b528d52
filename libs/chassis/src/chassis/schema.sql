-- Runs in the service's schema, as its owner; may run again, so everything is IF NOT EXISTS.

CREATE TABLE IF NOT EXISTS idempotency_keys (
  tenant_id uuid NOT NULL,
  subject text NOT NULL,
  method text NOT NULL,
  route text NOT NULL,
  key text NOT NULL,
  body_sha256 bytea NOT NULL,
  -- Both are set before the transaction of the effect commits: nobody else sees them NULL.
  status smallint,
  body bytea,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, subject, method, route, key)
);
COMMENT ON TABLE idempotency_keys IS 'tenant: answers to repeat when a client sends the same Idempotency-Key again; kept 24 h';
CREATE INDEX IF NOT EXISTS idempotency_keys_age ON idempotency_keys (created_at);

ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS idempotency_keys_of_tenant ON idempotency_keys;
CREATE POLICY idempotency_keys_of_tenant ON idempotency_keys
  USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
  WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));

DO $$
DECLARE
  app text := current_schema() || '_app';
  platform text := current_schema() || '_platform';
BEGIN
  EXECUTE format('GRANT SELECT, INSERT, UPDATE (status, body) ON idempotency_keys TO %I', app);
  -- The purge works across tenants, and needs to see no answer for it.
  EXECUTE format('GRANT SELECT (created_at), DELETE ON idempotency_keys TO %I', platform);
  EXECUTE format('DROP POLICY IF EXISTS idempotency_keys_purge ON idempotency_keys');
  EXECUTE format('CREATE POLICY idempotency_keys_purge ON idempotency_keys TO %I USING (true) WITH CHECK (false)', platform);
END $$;
