"""What every module of laws imports.

`m` is the vocabulary, `pyxqueue.model.message`: ``m.Retry()``. `s` is the steps that the laws are tested with:
``s.take_one(backend, B3)``. ``law("B3")`` is the text that a failed test quotes.
"""

from __future__ import annotations

from ...model import message as m
from ...protocols import Backend
from . import steps as s
from .base import Contract
from .harness import Harness
from .laws import Law, law

__all__ = ["Backend", "Contract", "Harness", "Law", "law", "m", "s"]
