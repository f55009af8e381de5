"""The numbered laws, read from the docstrings of `pyxqueue.protocols`, so that their text stands in one place."""

from __future__ import annotations

import inspect
import re
from typing import TypeVar

from attrs import frozen

from ...protocols import (
    Beginning,
    Broker,
    DropsFailed,
    FairLines,
    HasFlows,
    HasLocks,
    HasMaxLength,
    HasPlaces,
    HasPresence,
    HasStatistics,
    HasSteps,
    Inspector,
    LimitStore,
    Pausing,
    RateStore,
    Results,
    ResultStore,
    ScheduleStore,
    Serializer,
    SharedClaims,
)

T = TypeVar("T")

_BULLET = re.compile(
    r"^\* \*\*(?P<number>[A-Z]\d+)(?P<title>[^*]*)\*\* (?P<text>.*?)(?=^\* \*\*|\n\n(?=\S)|\Z)",
    re.DOTALL | re.MULTILINE,
)


@frozen
class Law:
    """One law, and the assertions that quote it."""

    number: str
    text: str

    def broken(self, complaint: str) -> AssertionError:
        return AssertionError(f"law {self.number} is broken: {complaint}\n\n{self.number}{self.text}")

    def holds(self, condition: object, complaint: str) -> None:
        __tracebackhide__ = True
        if not condition:
            raise self.broken(complaint)

    def same(self, seen: object, wanted: object, complaint: str) -> None:
        __tracebackhide__ = True
        if seen != wanted:
            raise self.broken(f"{complaint}\n  seen:   {seen!r}\n  wanted: {wanted!r}")

    def there(self, value: T | None, complaint: str) -> T:
        """`value`, which must not be None."""
        __tracebackhide__ = True
        if value is None:
            raise self.broken(complaint)
        return value


def read_laws(*protocols: type) -> dict[str, Law]:
    """The laws in the docstrings of `protocols`, by number."""
    laws = {}
    for protocol in protocols:
        for found in _BULLET.finditer(inspect.cleandoc(protocol.__doc__ or "")):
            laws[found["number"]] = Law(found["number"], f"{found['title']} {found['text'].rstrip()}")
    return laws


OPTIONAL = (
    ScheduleStore,
    HasLocks,
    HasMaxLength,
    HasPlaces,
    Beginning,
    LimitStore,
    RateStore,
    Pausing,
    FairLines,
    SharedClaims,
    HasFlows,
    HasSteps,
    HasStatistics,
    HasPresence,
    DropsFailed,
)
"""The optional protocols that have laws."""
_LAWS = read_laws(Serializer, Broker, Results, ResultStore, Inspector, *OPTIONAL)


def law(number: str) -> Law:
    """The law of that number; without its text when Python runs with its docstrings stripped."""
    return _LAWS.get(number, Law(number, ""))
