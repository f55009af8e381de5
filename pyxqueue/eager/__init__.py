"""Eager mode: tasks run in the process that calls them."""
