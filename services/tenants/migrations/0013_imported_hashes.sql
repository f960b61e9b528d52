-- While one imported hash is left, a check of any password costs what a check of that one does: sign-in asks for one each time.

CREATE INDEX users_imported ON users (id) WHERE password_hash LIKE '$2%';
