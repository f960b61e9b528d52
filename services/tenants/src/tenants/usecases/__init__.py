"""What the tenants service does: one file, one use case."""
