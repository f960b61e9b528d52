"""What billing does: one file, one use case."""
