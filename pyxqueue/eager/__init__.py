"""Eager mode: tasks run in the process that calls them."""

from .session import EagerSession, eager_mode

__all__ = ["EagerSession", "eager_mode"]
