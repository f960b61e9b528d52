-- What selling needs beyond its tables: one process at a time on a provider call, and disabled addresses that stay known.

-- Not every provider has idempotency keys: what is looked for before it is made must not be made by two at a time.
ALTER TABLE provider_calls ADD COLUMN lease_until timestamptz;

-- A disabled person's address stays, so that older news of it, arriving late, is recognised.
ALTER TABLE email_owners ADD COLUMN is_active boolean NOT NULL DEFAULT true;
