"""Turns pages into HTML, and serves the files that they use."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from . import formatting
from .site import Page, Site

_HERE = Path(__file__).parent


@frozen
class Asset:
    """A file that pages use."""

    data: bytes
    kind: str
    hash: str


def assets() -> Mapping[str, Asset]:
    """Return the files of ``static/`` by name."""
    found = {}
    for path in sorted((_HERE / "static").iterdir()):
        if path.is_file() and not path.name.startswith("."):
            data = path.read_bytes()
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            found[path.name] = Asset(data, kind, hashlib.sha256(data).hexdigest()[:16])
    return found


def environment() -> Environment:
    """Return the template environment. Everything that templates show is escaped, and an undefined name is an error."""
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(formatting.FILTERS)
    return made


def html(templates: Environment, page: Page, site: Site) -> str:
    return templates.get_template(page.template).render({**page.context, "site": site, "title": page.title})
