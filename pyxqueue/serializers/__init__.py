"""Serializers, which turn values into bytes and back, and seals over the bytes."""

from .errors import OutsideDomainError
from .json import JSONSerializer
from .msgpack import MsgpackSerializer
from .pickle import PickleSerializer
from .seal import Seal, SealContext
from .tagged import TaggedSerializer

__all__ = [
    "JSONSerializer",
    "MsgpackSerializer",
    "OutsideDomainError",
    "PickleSerializer",
    "Seal",
    "SealContext",
    "TaggedSerializer",
]
