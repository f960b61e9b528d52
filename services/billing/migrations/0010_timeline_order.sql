-- A timeline is read in the order in which it was written: ids of one millisecond have none.

ALTER TABLE order_events ADD COLUMN line bigint GENERATED ALWAYS AS IDENTITY;
DROP INDEX order_events_of_order;
CREATE INDEX order_events_of_order ON order_events (tenant_id, order_id, line);
