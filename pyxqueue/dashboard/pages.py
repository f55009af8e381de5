"""The pages: functions from values to what a template needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from .site import Page, Site
from .values import ErrorView, Overview, TaskView


def _plain(title: str) -> Callable[[Site, Any], Page]:
    def page(site: Site, view: Any) -> Page:  # noqa: ARG001 - as all pages are called
        return Page("page.html", {"view": msgspec.to_builtins(view, str_keys=True)}, title)

    return page


overview = _plain("Overview")
group = _plain("Group")
tasks = _plain("Tasks")
task = _plain("Task")
failures = _plain("Failures")
workers = _plain("Workers")
statistics = _plain("Statistics")
schedules = _plain("Schedules")
limits = _plain("Limits")
flows = _plain("Flows")
flow = _plain("Flow")


def error(site: Site, view: ErrorView) -> Page:  # noqa: ARG001 - as all pages are called
    return Page("page.html", {"view": {"text": view.text}}, view.title)


def live_overview(view: Overview) -> Mapping[str, str]:
    """Return what open pages show of the groups, by key."""
    return {
        f"{row.queue}/{row.group}/{place}": f"{getattr(row.depth, place):,}"
        for row in view.groups
        if row.depth
        for place in ("ready", "in_flight", "delayed", "failed")
    }


def live_task(view: TaskView) -> Mapping[str, str]:
    """Return what an open page shows of a task, by key."""
    progress = view.row.progress
    return {"status": view.row.status.name, "progress": f"{progress.done:g}" if progress else ""}
