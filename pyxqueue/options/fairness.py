"""`fair_by` and `weights`: the options of a queue whose tenants share the workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, TypeAlias

from msgspec import Struct

from ..calls import Call, Signature
from ..errors import ConfigurationError
from ..model.fairness import MAX_WEIGHT, MIN_WEIGHT, share_of
from ..model.limits import gate_key
from ..printable import quoted
from ..protocols import fair_lines_of

Weights: TypeAlias = Mapping[Any, float] | Callable[[Any], float]
"""The weight of a tenant: by the argument, or a function of it. It is 1 for a tenant that a mapping does not have."""


class Fairness(Struct, frozen=True):
    """The rule that gives a call its tenant, and its share of the workers."""

    parameter: str
    """The name of the parameter that has the tenant."""
    weights: Mapping[str, float] | Callable[[Any], float]

    def header(self, signature: Signature, call: Call) -> tuple[str, int]:
        """Return the key of the tenant of a call, which is empty if the call does not have that argument, and the share
        of its message. Raises `ConfigurationError` if the weight is not a number in range."""
        if self.parameter in signature.parameters:
            value = signature.arguments(*call)[self.parameter]
        else:
            value = call[1].get(self.parameter, "")
        if isinstance(self.weights, Mapping):
            weight = self.weights.get(str(value), 1)
        else:
            weight = self.weights(value)
            _check_weight(f"weights({quoted(value)})", weight)
        return gate_key(value), share_of(weight)


def fairness_option(fair_by: str | None, weights: Weights | None) -> Fairness | None:
    """Return what the options of a queue say; None if it is not fair. Raises `ConfigurationError`."""
    if fair_by is None:
        if weights is not None:
            raise ConfigurationError("weights= needs fair_by=, the name of the parameter that has the tenant")
        return None
    if not isinstance(fair_by, str) or not fair_by.isidentifier():
        raise ConfigurationError(
            f"fair_by={quoted(fair_by)} must be the name of a parameter of the tasks, such as fair_by='tenant'"
        )
    if weights is None or callable(weights):
        return Fairness(fair_by, weights or {})
    if not isinstance(weights, Mapping):
        raise ConfigurationError(
            f"weights={quoted(weights)} must be a mapping, such as weights={{'gold': 4}}, or a function of the tenant"
        )
    for tenant, weight in weights.items():
        _check_weight(f"weights[{quoted(tenant)}]", weight)
    return Fairness(fair_by, {str(tenant): weight for tenant, weight in weights.items()})


def _check_weight(name: str, weight: object) -> None:
    good = isinstance(weight, int | float) and not isinstance(weight, bool) and isfinite(weight)
    if not good or not MIN_WEIGHT <= weight <= MAX_WEIGHT:  # type: ignore[operator] # it is a number
        raise ConfigurationError(
            f"{name} is {quoted(weight)}, not a weight: give a number from {MIN_WEIGHT:g} to {MAX_WEIGHT:g}; a tenant "
            f"with twice the weight gets twice the share"
        )


def check_fair_lines(backend: object) -> None:
    """Raise `ConfigurationError` if the backend does not have fair lines."""
    if fair_lines_of(backend) is None:
        raise ConfigurationError(
            f"{type(backend).__name__} does not have fair lines, which fair_by= needs: use a store of pyxqueue, or a "
            f"backend that has FairLines"
        )
