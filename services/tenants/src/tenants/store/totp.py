"""SQL over second factors: for platform transactions only."""
