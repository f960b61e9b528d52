-- What sign-in needs: refresh tokens in families, one-time links, second factors, limits. All of it as hashes.

CREATE TABLE refresh_families (
    id          uuid        NOT NULL,
    user_id     uuid        NOT NULL,
    tenant_id   uuid,                                      -- that the tokens are for; NULL: a platform administrator
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    revoked_at  timestamptz,
    revoked_why text,
    CONSTRAINT refresh_families_pkey PRIMARY KEY (id),
    CONSTRAINT refresh_families_of_a_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT refresh_families_revoked_ones_say_why CHECK (num_nulls(revoked_at, revoked_why) IN (0, 2))
);
COMMENT ON TABLE refresh_families IS 'platform: sign-ins; replaying a spent token revokes the whole family';
CREATE INDEX refresh_families_of_user ON refresh_families (user_id);

CREATE TABLE refresh_tokens (
    token_sha256  bytea       NOT NULL,
    family_id     uuid        NOT NULL,
    issued_at     timestamptz NOT NULL,
    used_at       timestamptz,
    CONSTRAINT refresh_tokens_pkey PRIMARY KEY (token_sha256),
    CONSTRAINT refresh_tokens_of_a_family FOREIGN KEY (family_id) REFERENCES refresh_families (id) ON DELETE CASCADE
);
COMMENT ON TABLE refresh_tokens IS 'platform: each is good for one rotation';
CREATE INDEX refresh_tokens_of_family ON refresh_tokens (family_id);

CREATE TABLE one_time_links (
    token_sha256  bytea       NOT NULL,
    user_id       uuid        NOT NULL,
    purpose       text        NOT NULL,
    tenant_id     uuid,
    object_id     uuid,                                    -- an invitation's
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    used_at       timestamptz,
    CONSTRAINT one_time_links_pkey PRIMARY KEY (token_sha256),
    CONSTRAINT one_time_links_purpose_is_known
        CHECK (purpose IN ('set_password', 'reset_password', 'verify_email', 'invitation', 'two_factor'))
);
COMMENT ON TABLE one_time_links IS 'platform: links in mails and second-factor challenges; each works once';
CREATE INDEX one_time_links_of_user ON one_time_links (user_id, purpose);

CREATE TABLE totp_secrets (
    user_id     uuid        NOT NULL,
    secret      bytea       NOT NULL,                      -- sealed: AES-256-GCM, AAD nil|totp_secrets|user
    enabled_at  timestamptz,                               -- NULL: set up, not yet shown to work
    last_step   bigint      NOT NULL DEFAULT 0,            -- the newest time step used: a code works once
    created_at  timestamptz NOT NULL,
    CONSTRAINT totp_secrets_pkey PRIMARY KEY (user_id),
    CONSTRAINT totp_secrets_of_a_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);
COMMENT ON TABLE totp_secrets IS 'platform: second factors (RFC 6238)';

CREATE TABLE recovery_codes (
    user_id      uuid        NOT NULL,
    code_sha256  bytea       NOT NULL,
    used_at      timestamptz,
    CONSTRAINT recovery_codes_pkey PRIMARY KEY (user_id, code_sha256),
    CONSTRAINT recovery_codes_of_a_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);
COMMENT ON TABLE recovery_codes IS 'platform: codes for whoever lost the second factor; each works once';

-- GCRA: one row, one upsert a try, exact however many come at once.
CREATE TABLE rate_limits (
    key         bytea       NOT NULL,                      -- hash of what is limited: an account, an address
    tat         timestamptz NOT NULL,                      -- theoretical arrival time of the next try
    CONSTRAINT rate_limits_pkey PRIMARY KEY (key)
);
COMMENT ON TABLE rate_limits IS 'platform: tries at sign-in and at codes';
CREATE INDEX rate_limits_old ON rate_limits (tat);

GRANT SELECT, INSERT, UPDATE, DELETE
    ON refresh_families, refresh_tokens, one_time_links, totp_secrets, recovery_codes, rate_limits TO tenants_platform;
