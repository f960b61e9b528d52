-- A tenant sees, and may have retried, what providers sent to its own accounts; nobody sees another's.

ALTER TABLE provider_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE provider_events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON provider_events
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)
           AND account_id <> '00000000-0000-0000-0000-000000000000')
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)
                AND account_id <> '00000000-0000-0000-0000-000000000000');
CREATE POLICY platform ON provider_events TO billing_platform USING (true) WITH CHECK (true);
GRANT SELECT, UPDATE (status, reason, processed_at) ON provider_events TO billing_app;

CREATE INDEX provider_events_of_tenant ON provider_events (tenant_id, id) WHERE tenant_id IS NOT NULL;
