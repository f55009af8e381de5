"""How values are written on pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

FILTERS: Mapping[str, Callable[..., Any]] = {}
