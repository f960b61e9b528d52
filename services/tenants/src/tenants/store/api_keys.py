"""SQL over api_keys and their hashes."""
