-- The platform's own templates: what a tenant sends until it writes its own under the same slug.

SELECT set_config('app.tenant_id', '00000000-0000-0000-0000-000000000000', true);

INSERT INTO email_templates (id, tenant_id, slug, locale, syntax, variables,
                             subject, body_html, subject_jinja, body_jinja, version)
SELECT id, '00000000-0000-0000-0000-000000000000', slug, locale, 'jinja', variables,
       subject, body_html, subject, body_html,
       -- as mailer.domain.templates.prepare computes it
       encode(sha256('jinja'::bytea || '\x00'::bytea || convert_to(subject, 'UTF8')
                     || '\x00'::bytea || convert_to(body_html, 'UTF8')), 'hex')
FROM (VALUES
    ('00000000-0000-7000-8000-000000000001'::uuid, 'welcome', 'pt-BR', '{name}'::text[],
     'Boas-vindas, {{ name }}!',
     '<h1>Olá, {{ name }}!</h1>
<p>Sua conta está pronta. É um prazer ter você conosco.</p>
'),
    ('00000000-0000-7000-8000-000000000002'::uuid, 'welcome', 'en', '{name}'::text[],
     'Welcome, {{ name }}!',
     '<h1>Hello, {{ name }}!</h1>
<p>Your account is ready. It is good to have you with us.</p>
'),
    ('00000000-0000-7000-8000-000000000003'::uuid, 'password_reset', 'pt-BR', '{name,link:secret}'::text[],
     'Redefinição de senha',
     '<p>Olá, {{ name }}.</p>
<p>Para escolher uma nova senha, <a href="{{ link }}">abra este endereço</a>. Ele vale por pouco tempo e uma única vez.</p>
<p>Se você não pediu isto, ignore esta mensagem: sua senha continua a mesma.</p>
'),
    ('00000000-0000-7000-8000-000000000004'::uuid, 'password_reset', 'en', '{name,link:secret}'::text[],
     'Reset your password',
     '<p>Hello, {{ name }}.</p>
<p>To choose a new password, <a href="{{ link }}">open this address</a>. It works once, and not for long.</p>
<p>If you did not ask for this, ignore this message: your password stays as it is.</p>
')
) AS default_template (id, slug, locale, variables, subject, body_html);
