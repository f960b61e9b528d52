-- Mails about accounts, as the tenants service asks for them. Each carries the brand of whom it is sent for.
--
--   account_welcome          name, link, valid_days       whoever has an account and no password yet
--   account_invitation       name, inviter, link, valid_days
--   account_reset            name, link, valid_minutes
--   account_verify_email     name, link, valid_days
--   account_security_notice  name, event, at              event: password_changed, registration_attempted,
--                                                         second_factor_enabled, second_factor_disabled,
--                                                         recovery_code_used, email_changed, sessions_revoked
--   admin_alert              title, message, at
--
-- and brand_name, brand_color (#rrggbb) in all of them. Whoever is written to may have no name: ''.

SELECT set_config('app.tenant_id', '00000000-0000-0000-0000-000000000000', true);

INSERT INTO email_templates (id, tenant_id, slug, locale, syntax, variables,
                             subject, body_html, subject_jinja, body_jinja, version)
SELECT id, '00000000-0000-0000-0000-000000000000', slug, locale, 'jinja', variables,
       subject, body_html, subject, body_html,
       -- as mailer.domain.templates.prepare computes it
       encode(sha256('jinja'::bytea || '\x00'::bytea || convert_to(subject, 'UTF8')
                     || '\x00'::bytea || convert_to(body_html, 'UTF8')), 'hex')
FROM (VALUES
    ('00000000-0000-7000-8000-000000000701'::uuid, 'account_welcome', 'pt-BR',
     '{name,link:secret,valid_days,brand_name,brand_color}'::text[],
     'Sua conta em {{ brand_name }} está pronta',
     '<h1 style="color:{{ brand_color }}">{{ brand_name }}</h1>
<p>{% if name %}Olá, {{ name }}!{% else %}Olá!{% endif %}</p>
<p>A sua conta está pronta. Escolha uma senha para entrar:</p>
<p><a href="{{ link }}" style="background:{{ brand_color }};color:#ffffff;padding:12px 20px;text-decoration:none">Escolher a senha</a></p>
<p>O endereço vale por {{ valid_days }} dias e uma única vez. Depois disso, peça outro em "Esqueci minha senha".</p>
'),
    ('00000000-0000-7000-8000-000000000702'::uuid, 'account_welcome', 'en',
     '{name,link:secret,valid_days,brand_name,brand_color}'::text[],
     'Your account at {{ brand_name }} is ready',
     '<h1 style="color:{{ brand_color }}">{{ brand_name }}</h1>
<p>{% if name %}Hello, {{ name }}!{% else %}Hello!{% endif %}</p>
<p>Your account is ready. Choose a password to sign in:</p>
<p><a href="{{ link }}" style="background:{{ brand_color }};color:#ffffff;padding:12px 20px;text-decoration:none">Choose a password</a></p>
<p>The address works for {{ valid_days }} days and once. After that, ask for another one under "Forgot my password".</p>
'),
    ('00000000-0000-7000-8000-000000000703'::uuid, 'account_invitation', 'pt-BR',
     '{name,inviter,link:secret,valid_days,brand_name,brand_color}'::text[],
     'Convite para {{ brand_name }}',
     '<h1 style="color:{{ brand_color }}">{{ brand_name }}</h1>
<p>{% if name %}Olá, {{ name }}!{% else %}Olá!{% endif %}</p>
<p>{% if inviter %}{{ inviter }} convidou você{% else %}Você recebeu um convite{% endif %} para participar de {{ brand_name }}.</p>
<p><a href="{{ link }}" style="background:{{ brand_color }};color:#ffffff;padding:12px 20px;text-decoration:none">Aceitar o convite</a></p>
<p>O endereço vale por {{ valid_days }} dias e uma única vez. Se você não esperava isto, ignore esta mensagem.</p>
'),
    ('00000000-0000-7000-8000-000000000704'::uuid, 'account_invitation', 'en',
     '{name,inviter,link:secret,valid_days,brand_name,brand_color}'::text[],
     'An invitation to {{ brand_name }}',
     '<h1 style="color:{{ brand_color }}">{{ brand_name }}</h1>
<p>{% if name %}Hello, {{ name }}!{% else %}Hello!{% endif %}</p>
<p>{% if inviter %}{{ inviter }} invites you{% else %}You are invited{% endif %} to join {{ brand_name }}.</p>
<p><a href="{{ link }}" style="background:{{ brand_color }};color:#ffffff;padding:12px 20px;text-decoration:none">Accept the invitation</a></p>
<p>The address works for {{ valid_days }} days and once. If you did not expect this, ignore this message.</p>
'),
    ('00000000-0000-7000-8000-000000000705'::uuid, 'account_reset', 'pt-BR',
     '{name,link:secret,valid_minutes,brand_name,brand_color}'::text[],
     'Escolha uma nova senha',
     '<h1 style="color:{{ brand_color }}">{{ brand_name }}</h1>
<p>{% if name %}Olá, {{ name }}.{% else %}Olá.{% endif %}</p>
<p>Recebemos um pedido de nova senha para este endereço de e-mail.</p>
<p><a href="{{ link }}" style="background:{{ brand_color }};color:#ffffff;padding:12px 20px;text-decoration:none">Escolher a senha</a></p>
<p>O endereço vale por {{ valid_minutes }} minutos e uma única vez. Se você não pediu isto, ignore esta mensagem: nada muda.</p>
'),
    ('00000000-0000-7000-8000-000000000706'::uuid, 'account_reset', 'en',
     '{name,link:secret,valid_minutes,brand_name,brand_color}'::text[],
     'Choose a new password',
     '<h1 style="color:{{ brand_color }}">{{ brand_name }}</h1>
<p>{% if name %}Hello, {{ name }}.{% else %}Hello.{% endif %}</p>
<p>Somebody asked for a new password for this e-mail address.</p>
<p><a href="{{ link }}" style="background:{{ brand_color }};color:#ffffff;padding:12px 20px;text-decoration:none">Choose a password</a></p>
<p>The address works for {{ valid_minutes }} minutes and once. If it was not you, ignore this message: nothing changes.</p>
'),
    ('00000000-0000-7000-8000-000000000707'::uuid, 'account_verify_email', 'pt-BR',
     '{name,link:secret,valid_days,brand_name,brand_color}'::text[],
     'Confirme o seu endereço de e-mail',
     '<h1 style="color:{{ brand_color }}">{{ brand_name }}</h1>
<p>{% if name %}Olá, {{ name }}!{% else %}Olá!{% endif %}</p>
<p>Para começar a usar a sua conta, confirme que este endereço é seu:</p>
<p><a href="{{ link }}" style="background:{{ brand_color }};color:#ffffff;padding:12px 20px;text-decoration:none">Confirmar</a></p>
<p>O endereço vale por {{ valid_days }} dias e uma única vez. Se você não criou uma conta, não o abra: sem ele, a conta não existe.</p>
'),
    ('00000000-0000-7000-8000-000000000708'::uuid, 'account_verify_email', 'en',
     '{name,link:secret,valid_days,brand_name,brand_color}'::text[],
     'Confirm your e-mail address',
     '<h1 style="color:{{ brand_color }}">{{ brand_name }}</h1>
<p>{% if name %}Hello, {{ name }}!{% else %}Hello!{% endif %}</p>
<p>To begin to use your account, confirm that this address is yours:</p>
<p><a href="{{ link }}" style="background:{{ brand_color }};color:#ffffff;padding:12px 20px;text-decoration:none">Confirm</a></p>
<p>The address works for {{ valid_days }} days and once. If you created no account, do not open it: without it there is none.</p>
'),
    ('00000000-0000-7000-8000-000000000709'::uuid, 'account_security_notice', 'pt-BR',
     '{name,event,at,brand_name,brand_color}'::text[],
     'Aviso de segurança da sua conta',
     '<h1 style="color:{{ brand_color }}">{{ brand_name }}</h1>
<p>{% if name %}Olá, {{ name }}.{% else %}Olá.{% endif %}</p>
<p>{% if event == "password_changed" %}A senha da sua conta foi trocada, e todas as sessões foram encerradas.
{% elif event == "registration_attempted" %}Alguém tentou criar uma conta com este endereço de e-mail, que já tem uma. Se foi você, entre com a sua senha, ou peça outra em "Esqueci minha senha".
{% elif event == "second_factor_enabled" %}A verificação em duas etapas foi ativada na sua conta.
{% elif event == "second_factor_disabled" %}A verificação em duas etapas foi desativada na sua conta.
{% elif event == "recovery_code_used" %}Um código de recuperação foi usado para entrar na sua conta.
{% elif event == "email_changed" %}O endereço de e-mail da sua conta foi trocado.
{% elif event == "sessions_revoked" %}Todas as sessões da sua conta foram encerradas.
{% else %}Algo mudou na segurança da sua conta.
{% endif %}</p>
<p>Quando: {{ at }}.</p>
<p>Se não foi você, peça uma nova senha agora em "Esqueci minha senha" e avise o administrador.</p>
'),
    ('00000000-0000-7000-8000-000000000710'::uuid, 'account_security_notice', 'en',
     '{name,event,at,brand_name,brand_color}'::text[],
     'A security notice about your account',
     '<h1 style="color:{{ brand_color }}">{{ brand_name }}</h1>
<p>{% if name %}Hello, {{ name }}.{% else %}Hello.{% endif %}</p>
<p>{% if event == "password_changed" %}The password of your account was changed, and every session was ended.
{% elif event == "registration_attempted" %}Somebody tried to create an account with this e-mail address, which has one. If it was you, sign in with your password, or ask for another one under "Forgot my password".
{% elif event == "second_factor_enabled" %}Two-step verification was turned on for your account.
{% elif event == "second_factor_disabled" %}Two-step verification was turned off for your account.
{% elif event == "recovery_code_used" %}A recovery code was used to sign in to your account.
{% elif event == "email_changed" %}The e-mail address of your account was changed.
{% elif event == "sessions_revoked" %}Every session of your account was ended.
{% else %}Something changed in the security of your account.
{% endif %}</p>
<p>When: {{ at }}.</p>
<p>If it was not you, ask for a new password now under "Forgot my password", and tell the administrator.</p>
'),
    ('00000000-0000-7000-8000-000000000711'::uuid, 'admin_alert', 'pt-BR',
     '{title,message,at,brand_name,brand_color}'::text[],
     '[{{ brand_name }}] {{ title }}',
     '<h1 style="color:{{ brand_color }}">{{ title }}</h1>
<p>{{ message }}</p>
<p>Quando: {{ at }}.</p>
'),
    ('00000000-0000-7000-8000-000000000712'::uuid, 'admin_alert', 'en',
     '{title,message,at,brand_name,brand_color}'::text[],
     '[{{ brand_name }}] {{ title }}',
     '<h1 style="color:{{ brand_color }}">{{ title }}</h1>
<p>{{ message }}</p>
<p>When: {{ at }}.</p>
')
) AS default_template (id, slug, locale, variables, subject, body_html);
