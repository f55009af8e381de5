"""The Redis backend beyond the laws: what only Redis can do to it."""
