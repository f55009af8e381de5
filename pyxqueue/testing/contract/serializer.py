"""The laws of serializers: S1 round trip, S2 typed refusal, S3 only one error, S4 harmless."""

from __future__ import annotations

import importlib
import math
import pickle
import sys
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from types import ModuleType
from typing import Any

from ...errors import SerializationError
from ...protocols import Serializer
from .laws import law

S1, S2, S3, S4 = law("S1"), law("S2"), law("S3"), law("S4")


def outsiders() -> Sequence[Any]:
    """Values that are in no serializer's domain: nothing another process could find again by name."""

    class Local:
        pass

    class LocalInt(int):
        pass

    class LocalStr(str):
        __slots__ = ()

    class LocalDict(dict[str, int]):
        pass

    class LocalList(list[int]):
        pass

    return [
        Local(),
        Local,
        LocalInt(1),
        LocalStr("x"),
        LocalDict(a=1),
        LocalList([1]),
        lambda: None,
        (n for n in range(1)),
    ]


def identical(seen: Any, wanted: Any) -> bool:
    """Equal, and of the same types all the way down; NaN is identical to NaN, 0.0 is not to -0.0."""
    if type(seen) is not type(wanted):
        return False
    match wanted:
        case float():
            same_sign = math.copysign(1, seen) == math.copysign(1, wanted)
            return (math.isnan(seen) and math.isnan(wanted)) or (seen == wanted and same_sign)
        case Decimal():
            return bool(seen.as_tuple() == wanted.as_tuple())  # a signalling NaN cannot even be compared
        case dict():
            return _all_identical(seen, wanted) and _all_identical(seen.values(), wanted.values())
        case list() | tuple():
            return _all_identical(seen, wanted)
        case set() | frozenset():
            return len(seen) == len(wanted) and all(any(identical(a, b) for b in wanted) for a in seen)
        case _:
            return bool(seen == wanted)


def _all_identical(seen: Iterable[Any], wanted: Iterable[Any]) -> bool:
    left, right = list(seen), list(wanted)
    return len(left) == len(right) and all(map(identical, left, right))


class Canary:
    """An object whose pickle imports a harmless module when it is loaded."""

    module = "stringprep"

    def __reduce__(self) -> tuple[Callable[[str], ModuleType], tuple[str]]:
        return importlib.import_module, (self.module,)


class SerializerContract:
    """S1 to S4. A subclass sets `serializer` and `values`; it needs the package `hypothesis`.

    A serializer of a wide domain, such as one that takes any class that can be imported, may have to set `outside`.
    """

    serializer: Serializer
    values: Any
    """A Hypothesis strategy for the declared domain."""
    outside: Sequence[Any] = ()
    """More values that are not in the domain, besides those that are in no serializer's domain."""
    hostile: Sequence[bytes] = ()
    """More bytes to be refused, in the serializer's own format."""

    def check(self, strategy: Any, test: Callable[[Any], None]) -> None:
        """Run `test` on many values of `strategy`."""
        # Only tests of a serializer need Hypothesis.
        from hypothesis import given, settings  # noqa: PLC0415

        decorate: Any = given(strategy)
        run: Any = settings(report_multiple_bugs=False, deadline=None)(decorate(test))
        run()

    def test_s1_values_come_back_as_they_were(self) -> None:
        """Every value of the domain is read back equal, with the same types."""

        def comes_back(value: Any) -> None:
            seen = self.serializer.loads(self.serializer.dumps(value))
            S1.holds(identical(seen, value), f"{value!r} came back as {seen!r}")

        self.check(self.values, comes_back)

    def test_s1_dumps_returns_bytes(self) -> None:
        """What travels is bytes, whatever the value."""

        def is_bytes(value: Any) -> None:
            S1.same(type(self.serializer.dumps(value)), bytes, f"the type of dumps({value!r})")

        self.check(self.values, is_bytes)

    def test_s1_it_has_a_name(self) -> None:
        """The name that travels in the header is a short word."""
        name = self.serializer.name
        S1.holds(isinstance(name, str) and 0 < len(name) <= 64 and name.isascii(), f"{name!r} cannot travel")

    def test_s2_other_values_are_refused(self) -> None:
        """A value outside the domain, alone or inside of another, raises `SerializationError`."""
        for value in (*outsiders(), *self.outside):
            for wrapped in (value, [value], {"key": value}):
                try:
                    data = self.serializer.dumps(wrapped)
                except SerializationError:
                    continue
                raise S2.broken(f"dumps took {wrapped!r}, which is outside the domain, and wrote {data!r}")

    def test_s3_cut_bytes_are_refused(self) -> None:
        """Bytes that were cut short raise `SerializationError` or are another value's, never another error."""

        def is_refused(value: Any) -> None:
            data = self.serializer.dumps(value)
            for end in {0, len(data) // 2, max(0, len(data) - 1)}:
                self._load(data[:end])

        self.check(self.values, is_refused)

    def test_s3_empty_bytes_are_refused(self) -> None:
        """No value is written as no bytes at all."""
        S3.holds(not self._load(b""), "loads read a value from nothing")

    def test_s3_random_bytes_raise_nothing_else(self) -> None:
        """Whatever the bytes, `loads` returns a value or raises `SerializationError`."""
        # A serializer that is not trusted gets no random bytes: it might run them.
        if self.serializer.trusted:
            from hypothesis import strategies  # noqa: PLC0415

            def is_harmless(data: bytes) -> None:
                self._load(data)

            self.check(strategies.binary(max_size=200), is_harmless)
        for data in self.hostile:
            self._load(data)

    def test_s4_a_trusted_loads_runs_nothing(self) -> None:
        """A payload that would run code when it is unpickled runs nothing, unless the serializer is not trusted."""
        known = sys.modules.pop(Canary.module, None)
        try:
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                self._load(pickle.dumps(Canary(), protocol))
            ran = Canary.module in sys.modules
        finally:
            sys.modules.pop(Canary.module, None)
            if known is not None:
                sys.modules[Canary.module] = known
        S4.holds(not (ran and self.serializer.trusted), "loads ran code that came with the bytes")

    def test_s4_it_says_whether_it_is_trusted(self) -> None:
        """`trusted` is True or False, nothing in between."""
        S4.holds(isinstance(self.serializer.trusted, bool), f"trusted is {self.serializer.trusted!r}")

    def _load(self, data: bytes) -> bool:
        """True if `loads` returns a value, False if it raises the one error that it may."""
        try:
            self.serializer.loads(data)
        except SerializationError:
            return False
        except Exception as error:
            raise S3.broken(f"loads raised {error!r} for {data!r}") from error
        return True
