-- A recipient is looked up in whatever case the job wrote it: by the log's filter, an erasure and an export.
DROP INDEX emails_of_recipient;
CREATE INDEX emails_of_recipient ON emails (tenant_id, lower(to_email), id);
