"""Companies, their people, roles, keys, sign-in and the audit log."""
