-- What a person has to look at is looked for every minute, so that the administrator hears of it.

CREATE INDEX provider_events_for_review ON provider_events (received_at, id) WHERE status = 'review';
CREATE INDEX payments_for_review ON payments (updated_at, id) WHERE review_reason IS NOT NULL;
