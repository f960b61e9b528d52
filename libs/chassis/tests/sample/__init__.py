"""A tiny service, made like the real ones, that the chassis is tested with."""
