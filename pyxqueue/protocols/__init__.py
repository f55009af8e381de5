"""The protocols that a backend and a serializer implement, and the numbered laws that they must keep.

Every backend implements those of `core`. Each optional protocol has a module of its own.
"""

from .beginning import Beginning, Expired, TellExpired, TellsExpired
from .core import (
    DEFAULT_LEASE_MS,
    NO_LINES,
    AsyncProducer,
    Backend,
    Broker,
    HasAbout,
    HasAsync,
    HasQueues,
    HasWakeups,
    Inspector,
    Results,
    ResultStore,
    Serializer,
    StoreOptions,
    Wakeups,
    in_one_process,
)
from .diagnosing import Diagnosing, HasRisks
from .dropping import DropsFailed
from .durability import HasDurability, KnowsLost, confirm, durable
from .fairness import FairLines, HasFairLines, fair_lines_of
from .flows import HasFlows
from .length import AsyncHasMaxLength, HasMaxLength, TakenIn
from .limits import HasLimits, LimitStore, limits_of
from .pausing import LimitPausing, Pausing, limit_pausing_of
from .places import HasPlaces
from .presence import HasPresence
from .rates import RateStore, rates_of
from .schedules import Changed, DueSchedules, HasSchedules, ScheduleChange, ScheduleStore, schedules_of
from .shared import HasSharedClaims, SharedClaims
from .statistics import HasStatistics
from .steps import HasSteps
from .uniqueness import AsyncHasLocks, HasLocks

__all__ = [
    "DEFAULT_LEASE_MS",
    "NO_LINES",
    "AsyncHasLocks",
    "AsyncHasMaxLength",
    "AsyncProducer",
    "Backend",
    "Beginning",
    "Broker",
    "Changed",
    "Diagnosing",
    "DropsFailed",
    "DueSchedules",
    "Expired",
    "FairLines",
    "HasAbout",
    "HasAsync",
    "HasDurability",
    "HasFairLines",
    "HasFlows",
    "HasLimits",
    "HasLocks",
    "HasMaxLength",
    "HasPlaces",
    "HasPresence",
    "HasQueues",
    "HasRisks",
    "HasSchedules",
    "HasSharedClaims",
    "HasStatistics",
    "HasSteps",
    "HasWakeups",
    "Inspector",
    "KnowsLost",
    "LimitPausing",
    "LimitStore",
    "Pausing",
    "RateStore",
    "ResultStore",
    "Results",
    "ScheduleChange",
    "ScheduleStore",
    "Serializer",
    "SharedClaims",
    "StoreOptions",
    "TakenIn",
    "TellExpired",
    "TellsExpired",
    "Wakeups",
    "confirm",
    "durable",
    "fair_lines_of",
    "in_one_process",
    "limit_pausing_of",
    "limits_of",
    "rates_of",
    "schedules_of",
]
