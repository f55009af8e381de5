"""The optional protocol of a backend that looks for what is wrong with its store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from ..model.findings import Finding


@runtime_checkable
class Diagnosing(Protocol):
    """A backend that knows what its store needs, and says where that is missing."""

    def diagnose(self) -> Iterable[Finding]:
        """Yield what was found, in the order in which it was looked at. It changes nothing in the store, and takes a
        second at the most if the store responds. What this user may not look at is a finding too.

        Raises `BrokerUnavailableError` if the store cannot be reached.
        """
        ...


@runtime_checkable
class HasRisks(Protocol):
    """A backend whose store may have been set up so that it loses tasks, whatever workers do."""

    def risks(self) -> Iterable[Finding]:
        """Yield what puts tasks in danger, which is nothing in a store that is set up well. Supervisors look when they
        start, so it takes a round trip at the most. What this user may not look at is no finding.

        Raises `BrokerUnavailableError` if the store cannot be reached.
        """
        ...
