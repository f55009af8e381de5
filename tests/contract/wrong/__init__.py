"""Backends that are wrong in one small way each, by operation: a module for each module of the kit."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from .prelude import PLANTED, Wrong

__all__ = ["PLANTED", "Wrong"]

for _module in iter_modules(__path__):
    import_module(f".{_module.name}", __name__)
