-- A refund that is under way, and money that went back or is disputed, are asked after: banks change their minds.

CREATE INDEX refunds_under_way ON refunds (tenant_id, payment_id) WHERE status = 'pending';
CREATE INDEX payments_returning ON payments (provider, account_id)
    WHERE status IN ('partially_refunded', 'refunded', 'disputed', 'charged_back');
