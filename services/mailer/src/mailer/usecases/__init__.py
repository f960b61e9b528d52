"""The feature list of the mailer: one use case per file."""
