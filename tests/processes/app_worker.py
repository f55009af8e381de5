"""What the worker processes of these tests import."""

from __future__ import annotations

from .app import site_of_environment

site = site_of_environment()
queue = site.queue(site.loop)
