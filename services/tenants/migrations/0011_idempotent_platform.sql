-- People are no rows of a tenant, so what makes them works as the platform: its Idempotency-Keys stand there too, in the
-- effect's own transaction and under the caller's tenant.

GRANT SELECT, INSERT, UPDATE (status, body) ON idempotency_keys TO tenants_platform;
