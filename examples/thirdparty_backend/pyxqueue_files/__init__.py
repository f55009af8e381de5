"""A backend that keeps tasks in a folder: ``TaskQueue("files:///var/lib/tasks")``, for processes of one host."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from pyxqueue.errors import ConfigurationError
from pyxqueue.protocols import StoreOptions

from .backend import FilesBackend

__all__ = ["FilesBackend", "open_backend"]


def open_backend(url: str, options: StoreOptions) -> FilesBackend:
    """The factory behind ``files:///path``. Raises `ConfigurationError` for a URL of another form."""
    parts = urlsplit(url)
    if parts.netloc or not parts.path.startswith("/") or parts.query or parts.fragment:
        raise ConfigurationError(f"{url!r} is not valid: use files:///absolute/path")
    return FilesBackend(Path(unquote(parts.path)), options)
