"""The thin edge: who is calling, may they pass, and which service answers."""
