"""Tools for testing applications, backends and serializers."""

from ..eager import EagerSession, eager_mode
from .application import assert_enqueued, drain
from .clock import FakeClock
from .contract import (
    BackendContract,
    BrokerContract,
    Harness,
    InspectorContract,
    ResultStoreContract,
    SerializerContract,
)

__all__ = [
    "BackendContract",
    "BrokerContract",
    "EagerSession",
    "FakeClock",
    "Harness",
    "InspectorContract",
    "ResultStoreContract",
    "SerializerContract",
    "assert_enqueued",
    "drain",
    "eager_mode",
]
