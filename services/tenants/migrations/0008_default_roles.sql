-- Every permission that a route asks for, and the default roles: the nil tenant's, which each tenant may override by name.

INSERT INTO permissions (key, description, service) VALUES
    ('affiliates:write', 'Change affiliates', 'campaigns'),
    ('agents:read', 'See agents', 'agents'),
    ('agents:write', 'Change agents', 'agents'),
    ('api_keys:read', 'See api keys', 'tenants'),
    ('api_keys:write', 'Change api keys', 'tenants'),
    ('audit:read', 'Read the audit log', 'tenants'),
    ('billing:configure', 'Change the accounts at payment providers', 'billing'),
    ('billing:read', 'See billing', 'billing'),
    ('billing:write', 'Change billing', 'billing'),
    ('campaigns:publish', 'Publish campaigns', 'campaigns'),
    ('campaigns:read', 'See campaigns', 'campaigns'),
    ('campaigns:write', 'Change campaigns', 'campaigns'),
    ('email_settings:read', 'See email settings', 'mailer'),
    ('email_settings:write', 'Change email settings', 'mailer'),
    ('email_templates:read', 'See email templates', 'mailer'),
    ('email_templates:write', 'Change email templates', 'mailer'),
    ('emails:read', 'See emails', 'mailer'),
    ('finance:read', 'See finance', 'billing'),
    ('hosting:read', 'See hosting', 'provisioning'),
    ('integrations:write', 'Change integrations', 'campaigns'),
    ('leads:read', 'See leads', 'campaigns'),
    ('leads:write', 'Change leads', 'campaigns'),
    ('members:read', 'See members', 'tenants'),
    ('members:write', 'Change members', 'tenants'),
    ('messages:read', 'See messages', 'agents'),
    ('messages:send', 'Send messages', 'agents'),
    ('payments:attest', 'Be believed when claiming a payment', 'tenants'),
    ('payments:claim', 'Claim that a checkout was paid, as a checkout site''s key does', 'tenants'),
    ('payments:refund', 'Give money back', 'billing'),
    ('privacy:write', 'Erase or export a person''s data', 'tenants'),
    ('reports:export', 'Take reports out', 'admin-analytics'),
    ('reports:read', 'See reports', 'admin-analytics'),
    ('roles:read', 'See roles', 'tenants'),
    ('roles:write', 'Change roles', 'tenants'),
    ('suppressions:read', 'See suppressions', 'mailer'),
    ('suppressions:write', 'Change suppressions', 'mailer'),
    ('tenants:read', 'See tenants', 'tenants'),
    ('tenants:write', 'Change tenants', 'tenants'),
    ('users:read', 'See users', 'tenants'),
    ('users:write', 'Change users', 'tenants');

SELECT set_config('app.tenant_id', '00000000-0000-0000-0000-000000000000', true);

INSERT INTO roles (tenant_id, id, name, description)
SELECT '00000000-0000-0000-0000-000000000000', id, name, description FROM (VALUES
    ('00000000-0000-7000-8000-000000000101'::uuid, 'owner', 'Everything in the tenant'),
    ('00000000-0000-7000-8000-000000000102'::uuid, 'admin', 'Everything in the tenant'),
    ('00000000-0000-7000-8000-000000000103'::uuid, 'manager', 'Runs the daily business; no keys, no mail servers, no audit log'),
    ('00000000-0000-7000-8000-000000000104'::uuid, 'user', 'Sees the daily business'),
    ('00000000-0000-7000-8000-000000000105'::uuid, 'member', 'Sees the daily business'),
    ('00000000-0000-7000-8000-000000000106'::uuid, 'receptionist', 'Sees the daily business and bills; writes to customers'),
    ('00000000-0000-7000-8000-000000000107'::uuid, 'professional', 'Sees the daily business; writes to customers'),
    ('00000000-0000-7000-8000-000000000108'::uuid, 'doctor', 'Sees the daily business; writes to customers'),
    ('00000000-0000-7000-8000-000000000109'::uuid, 'affiliate', 'Sees campaigns, runs its own')
) AS role (id, name, description);

-- Owner and admin: all that a tenant may; a claim of a payment is for keys of the platform only.
INSERT INTO role_permissions (tenant_id, role_id, permission)
SELECT r.tenant_id, r.id, p.key FROM roles r CROSS JOIN permissions p
WHERE r.name IN ('owner', 'admin') AND p.key NOT IN ('payments:claim', 'payments:attest');

INSERT INTO role_permissions (tenant_id, role_id, permission)
SELECT r.tenant_id, r.id, unnest(g.permissions) FROM roles r JOIN (VALUES
    ('manager', string_to_array(concat_ws(',',
        'agents:read,agents:write,billing:read,billing:write,campaigns:publish,campaigns:read',
        'campaigns:write,email_templates:read,email_templates:write,emails:read,finance:read,hosting:read',
        'leads:read,leads:write,members:read,members:write,messages:read,messages:send,reports:export',
        'reports:read,roles:read,suppressions:read,suppressions:write,tenants:read,users:read'), ',')),
    ('user', '{agents:read,campaigns:read,email_templates:read,emails:read,leads:read,messages:read}'::text[]),
    ('member', '{agents:read,campaigns:read,email_templates:read,emails:read,leads:read,messages:read}'::text[]),
    ('receptionist', string_to_array(concat_ws(',',
        'agents:read,billing:read,campaigns:read,email_templates:read,emails:read,leads:read,leads:write',
        'messages:read,messages:send'), ',')),
    ('professional', string_to_array(concat_ws(',',
        'agents:read,campaigns:read,email_templates:read,emails:read,leads:read,leads:write,messages:read',
        'messages:send'), ',')),
    ('doctor', string_to_array(concat_ws(',',
        'agents:read,campaigns:read,email_templates:read,emails:read,leads:read,leads:write,messages:read',
        'messages:send'), ',')),
    ('affiliate', '{affiliates:write,campaigns:read}'::text[])
) AS g (name, permissions) ON g.name = r.name;
