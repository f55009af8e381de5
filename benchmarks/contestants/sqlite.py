"""What the contestants on SQLite agree on: file, journal, and how they sync."""

from __future__ import annotations

import os

from .base import JOURNAL_VARIABLE, server_url

PATH, _, _options = server_url().removeprefix("sqlite:///").partition("?")
FULL = _options == "durability=full"
JOURNAL = os.environ[JOURNAL_VARIABLE]
"""The one pyxqueue chooses here."""
