"""The options of a schedule, `Missed` among them: they are checked, and turned into the rule for its ticks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

from attrs import Attribute, field, frozen, validators

from ..clock import Seconds, in_seconds, milliseconds, optional_seconds
from ..errors import ConfigurationError
from ..model.schedules import MissedPolicy, MissedTicks, Overlap
from ..model.ticks import MOST, Timing, cron_timing, interval_timing
from ..printable import quoted

_MAX_SECONDS = 366 * 86_400 * 10


def _one_of(words: Sequence[str], name: str, value: object) -> None:
    if value not in words:
        raise ConfigurationError(f"{name}={quoted(value)} must be {' or '.join(map(quoted, words))}")


def _policy(_instance: object, _attribute: Attribute[Any], value: object) -> None:
    _one_of(get_args(MissedPolicy), "missed", value)


def _positive(_instance: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, int | float) or not 0 < value < _MAX_SECONDS:
        raise ConfigurationError(f"{attribute.name}={quoted(value)} must be a number of seconds, more than 0")


def _limit(_instance: object, _attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, int) or not 1 <= value <= MOST:
        raise ConfigurationError(f"limit={quoted(value)} must be a whole number from 1 to {MOST:,}")


@frozen
class Missed:
    """What happens to the ticks of a schedule that were missed, because no worker ran or the store was down.

    * ``"once"``: one run for all of them, the latest.
    * ``"skip"``: no run for a tick that is later than `grace`.
    * ``"all"``: a run for each, the oldest first, for at most `limit` ticks that are not older than `within`.
    """

    policy: MissedPolicy = field(default="once", validator=_policy)
    grace: float | None = field(
        default=None, kw_only=True, converter=optional_seconds, validator=validators.optional(_positive)
    )
    """How late a tick may run, in seconds or as a `timedelta`; by default one period, at least a minute."""
    limit: int = field(default=100, kw_only=True, validator=_limit)
    """The most ticks that are made up for."""
    within: float = field(default=86_400.0, kw_only=True, converter=in_seconds, validator=_positive)
    """The age up to which ticks are made up for, in seconds or as a `timedelta`; a day by default."""

    def __attrs_post_init__(self) -> None:
        if self.grace is not None and self.policy != "skip":
            raise ConfigurationError(f"grace= belongs to missed='skip', not to {quoted(self.policy)}")
        if self.policy != "all" and (self.limit != 100 or self.within != 86_400.0):
            raise ConfigurationError(f"limit= and within= belong to missed='all', not to {quoted(self.policy)}")


MissedOption: TypeAlias = Missed | Literal["once", "skip", "all"]


@frozen
class Plan:
    """When a schedule ticks, and what happens to ticks that are missed or overlap."""

    timing: Timing
    missed: MissedTicks
    overlap: Overlap


def plan_of(
    cron: str | None,
    every: Seconds | None,
    timezone: str | None,
    missed: MissedOption | None,
    overlap: str | None,
) -> Plan | None:
    """Return the plan that the options describe; None if there is neither `cron` nor `every`.

    Raises `ConfigurationError` for options that are not valid, or that contradict each other.
    """
    if cron is None and every is None:
        given = {"timezone": timezone, "missed": missed, "overlap": overlap}
        if names := [f"{name}=" for name, value in given.items() if value is not None]:
            raise ConfigurationError(f"{' and '.join(names)}: only a schedule has that, so give cron= or every= too")
        return None
    if cron is not None and every is not None:
        raise ConfigurationError("give either cron= or every=, not both: one schedule has one of them")
    if every is not None and timezone is not None:
        raise ConfigurationError("timezone= belongs to cron=: an interval is the same in every time zone")
    timing = cron_timing(cron, timezone) if every is None else interval_timing(in_seconds(every))
    rule = missed if isinstance(missed, Missed) else Missed(missed or "once")
    chosen: Any = overlap or "skip"
    _one_of(get_args(Overlap), "overlap", chosen)
    if rule.policy == "all" and chosen == "skip":
        raise ConfigurationError(
            "missed='all' with overlap='skip' contradicts itself: the ticks that are made up for come at once, so all "
            "but the first would be skipped. Give overlap='allow' or overlap='queue' too"
        )
    grace = 0 if rule.grace is None else milliseconds(rule.grace)
    return Plan(timing, MissedTicks(rule.policy, grace, rule.limit, milliseconds(rule.within)), chosen)
