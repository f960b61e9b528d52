"""What every service boots with: HTTP, database, identity, problems, telemetry, health, shutdown."""
