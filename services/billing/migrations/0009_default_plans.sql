-- The platform's first plans. They are a migration, not demo data, because the checkout page of the site that is
-- replaced sends these four slugs, and an unknown plan is refused: without them it could sell nothing on the first day.
-- Whoever sells something else archives or changes them (DELETE and PATCH /plans/{slug}).

SELECT set_config('app.tenant_id', '00000000-0000-0000-0000-000000000000', true);

INSERT INTO plans (id, tenant_id, slug, name, description, features, limits, trial_days, status, created_at, updated_at)
SELECT id, '00000000-0000-0000-0000-000000000000', slug, name, '', '{}', '{}', 0, 'active', now(), now()
FROM (VALUES
    ('00000000-0000-7000-8000-000000000101'::uuid, 'essencial', 'Essencial'),
    ('00000000-0000-7000-8000-000000000102'::uuid, 'profissional', 'Profissional'),
    ('00000000-0000-7000-8000-000000000103'::uuid, 'empresarial', 'Empresarial'),
    ('00000000-0000-7000-8000-000000000104'::uuid, 'enterprise', 'Enterprise')
) AS default_plan (id, slug, name);

-- A year costs twelve times the monthly amount that the page shows for it: 197, 464, 997 and 2397 BRL.
INSERT INTO plan_prices (id, tenant_id, plan_id, interval, currency, amount_cents, created_at)
SELECT id, '00000000-0000-0000-0000-000000000000', plan_id, interval, 'BRL', amount_cents, now()
FROM (VALUES
    ('00000000-0000-7000-8000-000000000111'::uuid, '00000000-0000-7000-8000-000000000101'::uuid, 'month', 24700),
    ('00000000-0000-7000-8000-000000000112'::uuid, '00000000-0000-7000-8000-000000000102'::uuid, 'month', 58000),
    ('00000000-0000-7000-8000-000000000113'::uuid, '00000000-0000-7000-8000-000000000103'::uuid, 'month', 124700),
    ('00000000-0000-7000-8000-000000000114'::uuid, '00000000-0000-7000-8000-000000000104'::uuid, 'month', 299700),
    ('00000000-0000-7000-8000-000000000121'::uuid, '00000000-0000-7000-8000-000000000101'::uuid, 'year', 12 * 19700),
    ('00000000-0000-7000-8000-000000000122'::uuid, '00000000-0000-7000-8000-000000000102'::uuid, 'year', 12 * 46400),
    ('00000000-0000-7000-8000-000000000123'::uuid, '00000000-0000-7000-8000-000000000103'::uuid, 'year', 12 * 99700),
    ('00000000-0000-7000-8000-000000000124'::uuid, '00000000-0000-7000-8000-000000000104'::uuid, 'year', 12 * 239700)
) AS default_price (id, plan_id, interval, amount_cents);
