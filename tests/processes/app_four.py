"""Four queues of one store."""

from __future__ import annotations

from attrs import evolve

from .app import site_of_environment

site = site_of_environment()
queue0, queue1, queue2, queue3 = (evolve(site, stream=f"{site.stream}-{number}").queue(False) for number in range(4))
