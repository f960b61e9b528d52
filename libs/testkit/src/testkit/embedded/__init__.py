"""Real Postgres and real brokers as private child processes: for `make run` and for tests."""
