-- A refund of which nothing comes is told to the administrator, once.

ALTER TABLE refunds ADD COLUMN overdue_at timestamptz;                 -- when that was told; it is asked after as before
CREATE INDEX refunds_not_come_to_their_end ON refunds (created_at)
    WHERE status IN ('requested', 'pending') AND overdue_at IS NULL;
