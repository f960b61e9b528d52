-- Two tabs of one browser send the same refresh token at once. For ten seconds a spent one is answered with the token that
-- took its place, which only the spent one itself can open; so there is one line of tokens, and a later replay still shows.

ALTER TABLE refresh_tokens ADD COLUMN successor bytea;     -- sealed: AES-256-GCM under the token, AAD nil|refresh_tokens|family
CREATE INDEX refresh_tokens_repeated ON refresh_tokens (used_at) WHERE successor IS NOT NULL;
