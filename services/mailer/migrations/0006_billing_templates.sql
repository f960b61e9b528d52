-- Mails about money, as billing asks for them, and what a visitor writes to the operator.
--
--   payment_receipt         name, number, description, amount, paid_on
--   payment_failed          name, plan, amount, url, copy_paste, is_suspended, notices_left
--   subscription_suspended  name, plan, amount, url, copy_paste
--   trial_ending            name, plan, amount, ends_on
--   pix_code                name, description, amount, copy_paste, due_on
--   contact_message         name, email, phone, message      to the operator
--
-- Amounts and days are texts, as people read them. Whoever is written to may have no name: ''. Where an unpaid invoice
-- has no page to pay on, `url` is ''; where it has no PIX code that is still good, `copy_paste` is ''.

SELECT set_config('app.tenant_id', '00000000-0000-0000-0000-000000000000', true);

INSERT INTO email_templates (id, tenant_id, slug, locale, syntax, variables,
                             subject, body_html, subject_jinja, body_jinja, version)
SELECT id, '00000000-0000-0000-0000-000000000000', slug, locale, 'jinja', variables,
       subject, body_html, subject, body_html,
       -- as mailer.domain.templates.prepare computes it
       encode(sha256('jinja'::bytea || '\x00'::bytea || convert_to(subject, 'UTF8')
                     || '\x00'::bytea || convert_to(body_html, 'UTF8')), 'hex')
FROM (VALUES
    ('00000000-0000-7000-8000-000000000601'::uuid, 'payment_receipt', 'pt-BR',
     '{name,number,description,amount,paid_on}'::text[],
     'Recebemos o seu pagamento de {{ amount }}',
     '<p>{% if name %}Olá, {{ name }}!{% else %}Olá!{% endif %}</p>
<p>Recebemos o pagamento da fatura nº {{ number }}. Obrigado!</p>
<table>
<tr><td>Descrição</td><td>{{ description }}</td></tr>
<tr><td>Valor</td><td>{{ amount }}</td></tr>
<tr><td>Pago em</td><td>{{ paid_on }}</td></tr>
</table>
'),
    ('00000000-0000-7000-8000-000000000602'::uuid, 'payment_receipt', 'en',
     '{name,number,description,amount,paid_on}'::text[],
     'We have received your payment of {{ amount }}',
     '<p>{% if name %}Hello, {{ name }}!{% else %}Hello!{% endif %}</p>
<p>We have received the payment of invoice no. {{ number }}. Thank you!</p>
<table>
<tr><td>Description</td><td>{{ description }}</td></tr>
<tr><td>Amount</td><td>{{ amount }}</td></tr>
<tr><td>Paid on</td><td>{{ paid_on }}</td></tr>
</table>
'),
    ('00000000-0000-7000-8000-000000000603'::uuid, 'payment_failed', 'pt-BR',
     '{name,plan,amount,url,copy_paste,is_suspended,notices_left}'::text[],
     'Não recebemos o pagamento do plano {{ plan }}',
     '<p>{% if name %}Olá, {{ name }}.{% else %}Olá.{% endif %}</p>
<p>O pagamento de {{ amount }} pelo plano {{ plan }} não foi concluído.</p>
{% if is_suspended %}<p>O acesso foi suspenso e volta assim que o pagamento for confirmado.</p>
{% elif notices_left == 1 %}<p>Este é o penúltimo aviso: depois do próximo, o acesso será suspenso.</p>
{% else %}<p>O acesso continua; para que não seja suspenso, regularize o pagamento nos próximos dias.</p>
{% endif %}{% if url %}<p><a href="{{ url }}">Pagar agora</a></p>
{% endif %}{% if copy_paste %}<p>Pix copia e cola:</p>
<p><code>{{ copy_paste }}</code></p>
{% endif %}'),
    ('00000000-0000-7000-8000-000000000604'::uuid, 'payment_failed', 'en',
     '{name,plan,amount,url,copy_paste,is_suspended,notices_left}'::text[],
     'We have not received the payment for {{ plan }}',
     '<p>{% if name %}Hello, {{ name }}.{% else %}Hello.{% endif %}</p>
<p>The payment of {{ amount }} for the plan {{ plan }} did not go through.</p>
{% if is_suspended %}<p>Access is suspended, and comes back as soon as the payment is confirmed.</p>
{% elif notices_left == 1 %}<p>This is the last notice but one: after the next, access will be suspended.</p>
{% else %}<p>Access goes on; please pay within the next days, so that it is not suspended.</p>
{% endif %}{% if url %}<p><a href="{{ url }}">Pay now</a></p>
{% endif %}{% if copy_paste %}<p>PIX code to paste:</p>
<p><code>{{ copy_paste }}</code></p>
{% endif %}'),
    ('00000000-0000-7000-8000-000000000605'::uuid, 'subscription_suspended', 'pt-BR',
     '{name,plan,amount,url,copy_paste}'::text[],
     'O acesso ao plano {{ plan }} foi suspenso',
     '<p>{% if name %}Olá, {{ name }}.{% else %}Olá.{% endif %}</p>
<p>Não recebemos o pagamento de {{ amount }} pelo plano {{ plan }}, e o acesso foi suspenso. Nada foi apagado: ele volta
assim que o pagamento for confirmado.</p>
{% if url %}<p><a href="{{ url }}">Pagar agora</a></p>
{% endif %}{% if copy_paste %}<p>Pix copia e cola:</p>
<p><code>{{ copy_paste }}</code></p>
{% endif %}'),
    ('00000000-0000-7000-8000-000000000606'::uuid, 'subscription_suspended', 'en',
     '{name,plan,amount,url,copy_paste}'::text[],
     'Access to {{ plan }} is suspended',
     '<p>{% if name %}Hello, {{ name }}.{% else %}Hello.{% endif %}</p>
<p>We have not received the payment of {{ amount }} for the plan {{ plan }}, and access is suspended. Nothing was
deleted: it comes back as soon as the payment is confirmed.</p>
{% if url %}<p><a href="{{ url }}">Pay now</a></p>
{% endif %}{% if copy_paste %}<p>PIX code to paste:</p>
<p><code>{{ copy_paste }}</code></p>
{% endif %}'),
    ('00000000-0000-7000-8000-000000000607'::uuid, 'trial_ending', 'pt-BR',
     '{name,plan,amount,ends_on}'::text[],
     'O seu período de teste termina em {{ ends_on }}',
     '<p>{% if name %}Olá, {{ name }}!{% else %}Olá!{% endif %}</p>
<p>O período de teste do plano {{ plan }} termina em {{ ends_on }}. Depois disso, cobraremos {{ amount }} pelo primeiro
período.</p>
<p>Se não quiser continuar, cancele antes dessa data, e nada será cobrado.</p>
'),
    ('00000000-0000-7000-8000-000000000608'::uuid, 'trial_ending', 'en',
     '{name,plan,amount,ends_on}'::text[],
     'Your trial ends on {{ ends_on }}',
     '<p>{% if name %}Hello, {{ name }}!{% else %}Hello!{% endif %}</p>
<p>The trial of the plan {{ plan }} ends on {{ ends_on }}. After that, {{ amount }} will be charged for the first
period.</p>
<p>If you do not want to go on, cancel before that day, and nothing will be charged.</p>
'),
    ('00000000-0000-7000-8000-000000000609'::uuid, 'pix_code', 'pt-BR',
     '{name,description,amount,copy_paste,due_on}'::text[],
     'Pix de {{ amount }}: {{ description }}',
     '<p>{% if name %}Olá, {{ name }}!{% else %}Olá!{% endif %}</p>
<p>Para pagar {{ amount }} ({{ description }}), copie este código no aplicativo do seu banco, em Pix copia e cola:</p>
<p><code>{{ copy_paste }}</code></p>
<p>Pague até {{ due_on }}.</p>
'),
    ('00000000-0000-7000-8000-000000000610'::uuid, 'pix_code', 'en',
     '{name,description,amount,copy_paste,due_on}'::text[],
     'PIX of {{ amount }}: {{ description }}',
     '<p>{% if name %}Hello, {{ name }}!{% else %}Hello!{% endif %}</p>
<p>To pay {{ amount }} ({{ description }}), paste this code into your bank''s app, under PIX copy and paste:</p>
<p><code>{{ copy_paste }}</code></p>
<p>Please pay by {{ due_on }}.</p>
'),
    ('00000000-0000-7000-8000-000000000611'::uuid, 'contact_message', 'pt-BR',
     '{name,email,phone,message}'::text[],
     'Mensagem de {{ name }} pelo site',
     '<p>{{ name }} escreveu pelo formulário de contato:</p>
<p style="white-space:pre-wrap">{{ message }}</p>
<p>Responder para: <a href="mailto:{{ email }}">{{ email }}</a>{% if phone %}, telefone {{ phone }}{% endif %}</p>
'),
    ('00000000-0000-7000-8000-000000000612'::uuid, 'contact_message', 'en',
     '{name,email,phone,message}'::text[],
     'Message from {{ name }} on the site',
     '<p>{{ name }} wrote on the contact form:</p>
<p style="white-space:pre-wrap">{{ message }}</p>
<p>Reply to: <a href="mailto:{{ email }}">{{ email }}</a>{% if phone %}, telephone {{ phone }}{% endif %}</p>
')
) AS default_template (id, slug, locale, variables, subject, body_html);
