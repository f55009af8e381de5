"""Tools for testing applications, backends and serializers."""

from ..clock import FakeClock
from ..eager.session import EagerSession, eager_mode
from .application import assert_enqueued, drain
from .contract import (
    BackendContract,
    BrokerContract,
    Harness,
    InspectorContract,
    ResultStoreContract,
    ScheduleContract,
    SerializerContract,
)
from .faulty import Fault, FaultyBroker, FaultyCall, FaultyResults, FaultySchedules

__all__ = [
    "BackendContract",
    "BrokerContract",
    "EagerSession",
    "FakeClock",
    "Fault",
    "FaultyBroker",
    "FaultyCall",
    "FaultyResults",
    "FaultySchedules",
    "Harness",
    "InspectorContract",
    "ResultStoreContract",
    "ScheduleContract",
    "SerializerContract",
    "assert_enqueued",
    "drain",
    "eager_mode",
]
