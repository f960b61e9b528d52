-- Mail jobs that hold a link which lets its reader in. They wait in the outbox like every message, where a link would
-- stand in the clear for the 72 hours that published rows are kept; so which ones they are is written down beside them.

CREATE TABLE mailed_links (
    message_id  uuid        NOT NULL,                      -- the outbox row's id
    written_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT mailed_links_pkey PRIMARY KEY (message_id)
);
COMMENT ON TABLE mailed_links IS 'platform: mail jobs in the outbox whose body is erased once the broker has it';
GRANT SELECT, INSERT, DELETE ON mailed_links TO tenants_platform;
