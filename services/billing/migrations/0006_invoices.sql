-- What is owed, and what was paid of it. An invoice is paid by exactly one payment.

CREATE TABLE invoice_numbers (
    tenant_id  uuid   NOT NULL,
    last       bigint NOT NULL,
    CONSTRAINT invoice_numbers_pkey PRIMARY KEY (tenant_id)
);
COMMENT ON TABLE invoice_numbers IS 'tenant: the last invoice number given; numbers have no gaps';

ALTER TABLE invoice_numbers ENABLE ROW LEVEL SECURITY;
ALTER TABLE invoice_numbers FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON invoice_numbers
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON invoice_numbers TO billing_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON invoice_numbers TO billing_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON invoice_numbers TO billing_platform;

CREATE TABLE invoices (
    id               uuid        NOT NULL,
    tenant_id        uuid        NOT NULL,
    sold_by          text        NOT NULL,
    number           bigint      NOT NULL,
    customer_id      uuid        NOT NULL,
    subscription_id  uuid,
    order_id         uuid,
    plan_id          uuid,
    plan_slug        text,
    interval         text,
    description      text        NOT NULL,
    amount_cents     bigint      NOT NULL,
    refunded_cents   bigint      NOT NULL DEFAULT 0,
    currency         text        NOT NULL,
    status           text        NOT NULL,
    provider         text        NOT NULL,
    account_id       uuid        NOT NULL,
    external_id      text,                                 -- the provider's own invoice, where it has them
    url              text,
    period_start     timestamptz,
    period_end       timestamptz,
    due_at           timestamptz NOT NULL,
    attempts         integer     NOT NULL DEFAULT 0,       -- failed payments
    last_failure     text,
    next_attempt_at  timestamptz,
    issued_at        timestamptz NOT NULL,
    paid_at          timestamptz,
    voided_at        timestamptz,
    version          bigint      NOT NULL DEFAULT 1,
    updated_at       timestamptz NOT NULL,
    CONSTRAINT invoices_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT invoices_number_once UNIQUE (tenant_id, number),
    CONSTRAINT invoices_external_once UNIQUE (tenant_id, provider, account_id, external_id),
    CONSTRAINT invoices_of_a_customer FOREIGN KEY (tenant_id, customer_id) REFERENCES customers (tenant_id, id),
    CONSTRAINT invoices_of_a_subscription
        FOREIGN KEY (tenant_id, subscription_id) REFERENCES subscriptions (tenant_id, id),
    CONSTRAINT invoices_of_an_order FOREIGN KEY (tenant_id, order_id) REFERENCES orders (tenant_id, id),
    CONSTRAINT invoices_sold_by_is_known CHECK (sold_by IN ('platform', 'tenant')),
    CONSTRAINT invoices_status_is_known CHECK (status IN ('pending', 'paid', 'void', 'refunded')),
    CONSTRAINT invoices_paid_ones_say_when CHECK ((status IN ('paid', 'refunded')) = (paid_at IS NOT NULL)),
    CONSTRAINT invoices_void_ones_say_when CHECK ((status = 'void') = (voided_at IS NOT NULL)),
    CONSTRAINT invoices_amount_is_positive CHECK (amount_cents > 0),
    CONSTRAINT invoices_refund_is_within CHECK (refunded_cents BETWEEN 0 AND amount_cents)
);
COMMENT ON TABLE invoices IS 'tenant: what is owed; kept for tax law when its customer is erased';
-- An order is invoiced once at its placement; later invoices belong to its subscription.
CREATE UNIQUE INDEX invoices_first_of_order ON invoices (tenant_id, order_id) WHERE order_id IS NOT NULL;
CREATE UNIQUE INDEX invoices_one_per_own_period ON invoices (tenant_id, subscription_id, period_start)
    WHERE external_id IS NULL AND subscription_id IS NOT NULL AND period_start IS NOT NULL AND status <> 'void';
CREATE INDEX invoices_newest ON invoices (tenant_id, id);

ALTER TABLE invoices ENABLE ROW LEVEL SECURITY;
ALTER TABLE invoices FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON invoices
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON invoices TO billing_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON invoices TO billing_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON invoices TO billing_platform;

CREATE TABLE payments (
    id                  uuid        NOT NULL,
    tenant_id           uuid        NOT NULL,
    sold_by             text        NOT NULL,
    invoice_id          uuid        NOT NULL,
    order_id            uuid,
    customer_id         uuid        NOT NULL,
    provider            text        NOT NULL,
    account_id          uuid        NOT NULL,
    external_id         text,                              -- NULL: asked for, the provider's answer not known yet
    method              text        NOT NULL,
    status              text        NOT NULL,
    amount_cents        bigint      NOT NULL,
    refunded_cents      bigint      NOT NULL DEFAULT 0,
    currency            text        NOT NULL,
    description         text        NOT NULL,
    reference           text,                              -- seed 002's externalReference, the tenant's own word
    due_on              date,
    paid_at             timestamptz,
    failure_reason      text,
    review_reason       text,                              -- money that fits nothing: a person has to look
    txid                text,
    end_to_end_id       text,
    pix_copy_paste      text,
    pix_expires_at      timestamptz,
    url                 text,
    raw                 jsonb,                             -- the provider's own object, for seed 002's dialect
    observed_at         timestamptz,
    version             bigint      NOT NULL DEFAULT 1,
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    CONSTRAINT payments_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT payments_external_once UNIQUE (tenant_id, provider, account_id, external_id),
    CONSTRAINT payments_txid_once UNIQUE (tenant_id, txid),
    CONSTRAINT payments_end_to_end_once UNIQUE (tenant_id, end_to_end_id),
    CONSTRAINT payments_of_an_invoice FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices (tenant_id, id),
    CONSTRAINT payments_of_an_order FOREIGN KEY (tenant_id, order_id) REFERENCES orders (tenant_id, id),
    CONSTRAINT payments_of_a_customer FOREIGN KEY (tenant_id, customer_id) REFERENCES customers (tenant_id, id),
    CONSTRAINT payments_sold_by_is_known CHECK (sold_by IN ('platform', 'tenant')),
    CONSTRAINT payments_status_is_known CHECK (status IN (
        'pending', 'failed', 'cancelled', 'paid', 'partially_refunded', 'refunded', 'disputed', 'charged_back')),
    CONSTRAINT payments_paid_ones_say_when
        CHECK (status NOT IN ('paid', 'partially_refunded', 'refunded') OR paid_at IS NOT NULL),
    CONSTRAINT payments_amount_is_positive CHECK (amount_cents > 0),
    CONSTRAINT payments_refund_is_within CHECK (refunded_cents BETWEEN 0 AND amount_cents)
);
COMMENT ON TABLE payments IS 'tenant: payments and attempts at them; kept for tax law';
-- However often a provider says so, an invoice is settled by one payment; another one's money goes to review.
CREATE UNIQUE INDEX payments_one_settles ON payments (tenant_id, invoice_id)
    WHERE status IN ('paid', 'partially_refunded', 'refunded', 'disputed', 'charged_back') AND review_reason IS NULL;
CREATE INDEX payments_newest ON payments (tenant_id, id);
CREATE INDEX payments_of_invoice ON payments (tenant_id, invoice_id);
CREATE INDEX payments_waiting ON payments (updated_at) WHERE status = 'pending';

ALTER TABLE payments ENABLE ROW LEVEL SECURITY;
ALTER TABLE payments FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON payments
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON payments TO billing_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON payments TO billing_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON payments TO billing_platform;

CREATE TABLE refunds (
    id            uuid        NOT NULL,
    tenant_id     uuid        NOT NULL,
    payment_id    uuid        NOT NULL,
    amount_cents  bigint      NOT NULL,
    reason        text,
    status        text        NOT NULL,
    external_id   text,
    requested_by  text        NOT NULL,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    CONSTRAINT refunds_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT refunds_of_a_payment FOREIGN KEY (tenant_id, payment_id) REFERENCES payments (tenant_id, id),
    CONSTRAINT refunds_status_is_known CHECK (status IN ('requested', 'pending', 'done', 'failed')),
    CONSTRAINT refunds_amount_is_positive CHECK (amount_cents > 0)
);
COMMENT ON TABLE refunds IS 'tenant: refunds asked for, and what became of them';
CREATE INDEX refunds_of_payment ON refunds (tenant_id, payment_id);

ALTER TABLE refunds ENABLE ROW LEVEL SECURITY;
ALTER TABLE refunds FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON refunds
    USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
CREATE POLICY platform ON refunds TO billing_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON refunds TO billing_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON refunds TO billing_platform;
