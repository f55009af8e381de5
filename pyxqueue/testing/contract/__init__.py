"""The conformance kit: what a backend or a serializer must do, as tests you subclass.

A backend in a package of its own is proven with a page like this one::

    import pytest
    from pyxqueue.testing.contract import BackendContract

    class MyHarness:                        # see `Harness` for what each of the five must do
        lease = 30_000
        def open(self, group="cg", *, history=100, lease=None): ...
        def advance(self, ms): ...
        def inject(self, fields, group="cg"): ...
        def footprint(self): ...

    class TestMyBackend(BackendContract):
        @pytest.fixture
        def harness(self):
            return MyHarness()

Every test carries the number of a law in `pyxqueue.protocols` in its name, and its failure quotes that law.
`BackendContract` is all of it; `BrokerContract`, `ResultStoreContract` and `InspectorContract` are its parts. How a
backend may differ is declared with class attributes: `patience`, `footprint_slack`, `is_broker`, `crosses_forks`.

A serializer needs `SerializerContract` only.
"""

from .administering import AdministerLaws
from .claiming import ClaimLaws
from .corners import BrokerCorners, InspectorCorners
from .extremes import BrokerExtremes, InspectorExtremes
from .harness import Contract, Harness
from .inspecting import LookLaws
from .keeping import KeepLaws
from .laws import Law, law
from .lookalikes import InspectorNeighbours
from .neighbours import BrokerNeighbours
from .overlooked import BrokerOverlooked, InspectorOverlooked
from .queueing import QueueLaws
from .records import RecordCorners, SettledRecordCorners
from .results import SettledResultLaws
from .serializing import SerializerContract
from .settling import SettleLaws

__all__ = [
    "BackendContract",
    "BrokerContract",
    "Contract",
    "Harness",
    "InspectorContract",
    "Law",
    "ResultStoreContract",
    "SerializerContract",
    "law",
]


class BrokerContract(
    ClaimLaws, SettleLaws, KeepLaws, QueueLaws, BrokerCorners, BrokerExtremes, BrokerNeighbours, BrokerOverlooked
):
    """B1 to B13."""


class ResultStoreContract(RecordCorners):
    """R1 to R5, for every store of results.

    A store that is no broker sets `is_broker` to False; `harness.open` then answers a `ResultStore`, and the tests
    that need a queue do not exist for it: they are in `BackendContract`.
    """


class InspectorContract(
    LookLaws, AdministerLaws, InspectorCorners, InspectorExtremes, InspectorNeighbours, InspectorOverlooked
):
    """I1 to I7, for a backend that is broker and inspector."""


class BackendContract(BrokerContract, ResultStoreContract, SettledResultLaws, SettledRecordCorners, InspectorContract):
    """Everything that is asked of a store which is broker, result store and inspector in one object."""
