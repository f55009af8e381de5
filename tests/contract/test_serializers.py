"""Every serializer keeps the laws."""

from hypothesis import strategies as st

from pyxqueue.serializers import JSONSerializer, MsgpackSerializer, PickleSerializer
from pyxqueue.testing.contract import SerializerContract
from tests.serializers.values import VALUES


class TestJSON(SerializerContract):
    serializer = JSONSerializer()
    values = VALUES
    hostile = (b"[", b'{"!a.b":1}', b"\xff", b"1e999999", b"[" * 100_000)


class TestMsgpack(SerializerContract):
    serializer = MsgpackSerializer()
    values = VALUES
    hostile = (b"\xc1", b"\xc7\x01\x05x", b"\x91" * 100_000)


class TestPickle(SerializerContract):
    serializer = PickleSerializer()
    values = st.one_of(st.none(), st.integers(), st.text(), st.lists(st.floats()), st.sets(st.binary()))
    hostile = (b"no pickle", b"\x80\x05N")
