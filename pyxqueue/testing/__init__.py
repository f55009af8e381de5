"""Tools for testing tasks, backends and serializers."""

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
    "FakeClock",
    "Harness",
    "InspectorContract",
    "ResultStoreContract",
    "SerializerContract",
]
