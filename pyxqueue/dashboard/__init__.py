"""The dashboard: an ASGI application with pages that show queues and act on them. It needs the extra ``dashboard``."""

from __future__ import annotations

try:
    from .access import Access
    from .app import Dashboard
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("starlette", "jinja2", "anyio"):
        raise
    raise ModuleNotFoundError(
        f'the dashboard needs {error.name}: pip install "pyxqueue[dashboard]"', name=error.name
    ) from error

__all__ = ["Access", "Dashboard"]
