-- What the operator is told when something stands still.
--
--   billing_stalled  count, oldest_minutes, provider, reason      `reason` is '' while nothing was tried

SELECT set_config('app.tenant_id', '00000000-0000-0000-0000-000000000000', true);

INSERT INTO email_templates (id, tenant_id, slug, locale, syntax, variables,
                             subject, body_html, subject_jinja, body_jinja, version)
SELECT id, '00000000-0000-0000-0000-000000000000', slug, locale, 'jinja', variables,
       subject, body_html, subject, body_html,
       -- as mailer.domain.templates.prepare computes it
       encode(sha256('jinja'::bytea || '\x00'::bytea || convert_to(subject, 'UTF8')
                     || '\x00'::bytea || convert_to(body_html, 'UTF8')), 'hex')
FROM (VALUES
    ('00000000-0000-7000-8000-000000001001'::uuid, 'billing_stalled', 'pt-BR',
     '{count,oldest_minutes,provider,reason}'::text[],
     'Pagamentos parados: {{ count }} avisos sem tratamento',
     '<p>{{ count }} avisos de provedores de pagamento esperam há mais de cinco minutos. O mais antigo, de
{{ provider }}, chegou há {{ oldest_minutes }} minutos.</p>
{% if reason %}<p>Último motivo: {{ reason }}</p>
{% endif %}<p>Veja a lista em /billing/events.</p>
'),
    ('00000000-0000-7000-8000-000000001002'::uuid, 'billing_stalled', 'en',
     '{count,oldest_minutes,provider,reason}'::text[],
     'Payments stand still: {{ count }} events are not dealt with',
     '<p>{{ count }} events of payment providers have waited for more than five minutes. The oldest, of {{ provider }},
came {{ oldest_minutes }} minutes ago.</p>
{% if reason %}<p>Last reason: {{ reason }}</p>
{% endif %}<p>The list is at /billing/events.</p>
')
) AS default_template (id, slug, locale, variables, subject, body_html);
