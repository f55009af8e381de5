"""Two queues that the same worker processes serve."""

from __future__ import annotations

import os

from .app import SECOND_URL, site_of_environment

site = site_of_environment()
first = site.queue(site.loop)
second = site.second(os.environ[SECOND_URL]).queue(site.loop)
