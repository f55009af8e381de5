"""The conformance kit: what a backend or a serializer must do, as tests you subclass.

A backend in a package of its own is tested with a module like this one::

    import pytest
    from pyxqueue.testing.contract import BackendContract

    class MyHarness:                        # `Harness` says what each must do
        lease = 30_000
        def open(self, group="cg", *, history=100, lease=None): ...
        def advance(self, ms): ...
        def inject(self, fields, group="cg"): ...
        def footprint(self): ...

    class TestMyBackend(BackendContract):
        @pytest.fixture
        def harness(self):
            return MyHarness()

The tests `test_harness_…` come first and check the harness: that its clock moves a lease, that its options reach the
store. While one of them fails, do not read the others. The name of every other test has the number of a law in
`pyxqueue.protocols`, and a failure quotes that law. The tests of an operation are in the module of its name.
`steps`, which they are made of, and `law` are public: your own tests may use them.
`BackendContract` has all tests; `BrokerContract` and `InspectorContract` are parts of it. A backend declares how it
differs with class attributes: `patience`, `footprint_slack`, `crosses_forks`. `ResultStoreContract` is for a
`ResultStore`, the result half of a `pyxqueue.split.SplitBackend`. `ScheduleContract` is for a backend that keeps
schedules.

A serializer needs `SerializerContract` only.
"""

from .adopt import AdoptLaws
from .base import Contract
from .bounds import BoundLaws
from .cancel import CancelLaws
from .charges import ChargeLaws
from .claim import ClaimLaws
from .delay import DelayLaws
from .delete import DeleteLaws
from .dropping import DropLaws
from .enqueue import EnqueueLaws
from .expiry import ExpiryLaws
from .fairness import FairnessLaws
from .flows import FlowLaws
from .groups import GroupLaws
from .harness import Harness
from .harness_tests import HarnessTests
from .laws import Law, law
from .lease import LeaseLaws
from .length import LengthLaws
from .limits import LimitLaws
from .list import ListLaws
from .messages import MessageLaws
from .named_pauses import NamedPauseLaws
from .past import PastLaws
from .pause import PauseLaws
from .places import PlaceLaws
from .presence import PresenceLaws
from .priorities import PriorityLaws
from .progress import ProgressLaws
from .put import PutLaws
from .rates import RateLaws
from .records import RecordLaws, SettledRecordLaws
from .requeue import RequeueLaws
from .resuming import ResumingLaws
from .schedules import ScheduleContract
from .serializer import SerializerContract
from .settle import SettleLaws
from .shared import SharedLaws
from .show import ShowLaws
from .statistics import StatisticsLaws
from .turns import TurnLaws
from .uniqueness import UniqueLaws
from .wait import SettledWaitLaws, WaitLaws
from .watch import WatchLaws

__all__ = [
    "BackendContract",
    "BrokerContract",
    "Contract",
    "Harness",
    "InspectorContract",
    "Law",
    "ResultStoreContract",
    "ScheduleContract",
    "SerializerContract",
    "law",
]


class BrokerContract(
    EnqueueLaws,
    ClaimLaws,
    TurnLaws,
    PriorityLaws,
    DelayLaws,
    LeaseLaws,
    SettleLaws,
    ProgressLaws,
    ChargeLaws,
    PastLaws,
    MessageLaws,
    GroupLaws,
    BoundLaws,
    HarnessTests,
):
    """B1 to B14."""


class ResultStoreContract(PutLaws, RecordLaws, WaitLaws):
    """R1 to R5, for a `ResultStore`: `open` of the harness returns one, and `inject` is not called."""


class InspectorContract(ShowLaws, ListLaws, RequeueLaws, CancelLaws, DeleteLaws, WatchLaws, AdoptLaws, HarnessTests):
    """I1 to I7, for a backend that is broker and inspector."""


class BackendContract(
    BrokerContract,
    RecordLaws,
    WaitLaws,
    SettledRecordLaws,
    SettledWaitLaws,
    InspectorContract,
    UniqueLaws,
    LengthLaws,
    ExpiryLaws,
    LimitLaws,
    RateLaws,
    PauseLaws,
    PlaceLaws,
    NamedPauseLaws,
    FairnessLaws,
    SharedLaws,
    FlowLaws,
    ResumingLaws,
    StatisticsLaws,
    PresenceLaws,
    DropLaws,
    HarnessTests,
):
    """B1 to B14, R2 to R5 and I1 to I7: everything that is asked of a backend; and the laws B15, L, F, Q and M of
    the optional protocols that it has."""
