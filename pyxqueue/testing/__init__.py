"""Tools for testing applications, backends and serializers."""

from ..clock import FakeClock
from ..eager import EagerSession, eager_mode
from .application import assert_enqueued, drain
from .contract import (
    BackendContract,
    BrokerContract,
    Harness,
    InspectorContract,
    ResultStoreContract,
    SerializerContract,
)
from .faulty import Fault, FaultyBroker, FaultyCall, FaultyResults

__all__ = [
    "BackendContract",
    "BrokerContract",
    "EagerSession",
    "FakeClock",
    "Fault",
    "FaultyBroker",
    "FaultyCall",
    "FaultyResults",
    "Harness",
    "InspectorContract",
    "ResultStoreContract",
    "SerializerContract",
    "assert_enqueued",
    "drain",
    "eager_mode",
]
