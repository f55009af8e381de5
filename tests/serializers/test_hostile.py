"""Law S3: for any bytes, `loads` returns a value or raises `SerializationError`."""

from __future__ import annotations

import contextlib
import enum
from itertools import count
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyxqueue.errors import SerializationError
from pyxqueue.serializers import JSONSerializer, MsgpackSerializer, TaggedSerializer, tags
from pyxqueue.serializers.classes import MAX_COMBINATIONS
from pyxqueue.serializers.tags import DECODERS, MAX_ALIKE

from .values import TAGGED, VALUES

both = pytest.mark.parametrize("make", TAGGED)

JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda items: (
        st.lists(items, max_size=4)
        | st.dictionaries(st.sampled_from([f"!{tag}" for tag in DECODERS]) | st.text(), items, max_size=1)
    ),
    max_leaves=8,
)


def load(serializer: TaggedSerializer, data: bytes) -> None:
    """Load the data. `SerializationError` is allowed; any other exception fails the test."""
    with contextlib.suppress(SerializationError):
        serializer.loads(data)


@both
@given(data=st.binary())
def test_arbitrary_bytes(make: type[TaggedSerializer], data: bytes) -> None:
    """Random bytes."""
    load(make(), data)


@both
@given(value=VALUES, data=st.data())
def test_damaged_bytes(make: type[TaggedSerializer], value: Any, data: st.DataObject) -> None:
    """Bytes that `dumps` has written, some of them changed, removed or added."""
    serializer = make()
    written = bytearray(serializer.dumps(value))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(written)))
        written[start : start + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))

    load(serializer, bytes(written))


@both
@given(wire=JSON_LIKE)
@example(wire={"!decimal": "1e99999999999999999999"})
@example(wire={"!timedelta": [10**12, 0, 0]})
@example(wire={"!datetime": ["2024-01-01T00:00:00", ["x", 0, 0, None], 0]})
@example(wire={"!datetime": ["9999-12-31T23:59:59+00:00", [0, 10**9, 0, None], 7]})
@example(wire={"!int": "0x" + "f" * 100_000 + "g"})
def test_tags_with_any_data(make: type[TaggedSerializer], wire: Any) -> None:
    """Tags that exist, with data of any type."""
    serializer = make()
    try:
        data = serializer.pack(wire)
    except OverflowError:  # a number that MessagePack does not have
        return

    load(serializer, data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[1",
        b"nan",
        b"1" * 5000,
        b"-" + b"9" * 100_000,
        b"1e999",
        b'"\\ud800"',
        b'"\xff"',
        b"[" * 10**6,
        b'{"a":' * 10**6,
        b'{"!decimal":"one"}',
        b'{"!decimal":1.5}',
        b'{"!decimal":"1e99999999999999999999"}',
        b'{"!int":"0x12g"}',
        b'{"!int":7}',
        b'{"!float":"1.5"}',
        b'{"!float":[]}',
        b'{"!bytes":"a"}',
        b'{"!bytes":"YQ&=="}',
        b'{"!str":"/w=="}',
        b'{"!uuid":"1"}',
        b'{"!uuid":1}',
        b'{"!date":"2024-13-01"}',
        b'{"!date":20240101}',
        b'{"!datetime":"2024-01-01T00:00:00+99:00"}',
        b'{"!datetime":["2024-01-01","No/Such",0]}',
        b'{"!datetime":["2024-01-01","../../../etc/passwd",0]}',
        b'{"!datetime":["2024-01-01","/etc/passwd",0]}',
        b'{"!datetime":["2024-01-01","America",0]}',
        b'{"!datetime":["2024-01-01",null,2]}',
        b'{"!time":"25:00"}',
        b'{"!timedelta":[1e300,0,0]}',
        b'{"!timedelta":"1"}',
        b'{"!tuple":"abc"}',
        b'{"!set":"abc"}',
        b'{"!set":[[]]}',
        b'{"!frozenset":{"a":1}}',
        b'{"!dict":[["a"]]}',
        b'{"!dict":["ab"]}',
        b'{"!dict":[[[],1]]}',
        b'{"!dict":{"ab":1}}',
        b'{"!":1}',
        b'{"!!mine":1}',
        b'{"!nothing":1}',
        b'{"!os.system":"true"}',
        b'{"!builtins.int":"1"}',
    ],
    ids=lambda data: f"{data[:40]!r}-{len(data)}",
)
def test_json_that_dumps_does_not_write_is_refused(data: bytes) -> None:
    """Each case has one fault."""
    with pytest.raises(SerializationError):
        JSONSerializer().loads(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x91" * 10**6,
        b"\x81\xa1a" * 10**6,
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xa1\xff",
        b"\xa3\xed\xa0\x80",
        b"\x81\x80\x01",
        b"\xc1",
        b"\xc7\x01\x05x",
        b"\x01\x01",
        msgspec.msgpack.encode({"!set": [[1]]}),
        msgspec.msgpack.encode({"!bytes": b"1"}),
        msgspec.msgpack.encode({"!os.system": "true"}),
    ],
    ids=lambda data: f"{data[:8].hex()}-{len(data)}",
)
def test_messagepack_that_dumps_does_not_write_is_refused(data: bytes) -> None:
    """Truncated, too deep, wrong lengths, extension types, wrong tags."""
    with pytest.raises(SerializationError):
        MsgpackSerializer().loads(data)


@both
def test_errors_do_not_repeat_the_payload(make: type[TaggedSerializer]) -> None:
    """An error goes into a record and a log line, so it must be short."""
    serializer = make()
    for wire in ({"!date": "x" * 10**5}, {"!int": "x" * 10**5}, {"!" + "x" * 10**5: 1}):
        with pytest.raises(SerializationError) as caught:
            serializer.loads(serializer.pack(wire))
        assert len(str(caught.value)) < 600


@both
def test_an_undecodable_tag_is_named(make: type[TaggedSerializer]) -> None:
    """The usual reason is a class that is not registered here, and the error says what to do."""
    serializer = make()

    with pytest.raises(SerializationError, match=r"!shop\.Order is unknown here: if it is a class, register it"):
        serializer.loads(serializer.pack({"!shop.Order": {}}))


MERSENNE = 2**61 - 1
"""Python's numbers have equal hash values if they are equal modulo this prime."""
ALIKE = [MERSENNE * number for number in range(1, MAX_ALIKE + 2)]


@both
@pytest.mark.parametrize("tag", ["set", "frozenset", "dict"])
def test_members_with_one_hash_value_are_refused(make: type[TaggedSerializer], tag: str) -> None:
    """Python compares each with all the others: a megabyte of them would take minutes."""
    serializer = make()
    numbers = [{"!int": hex(number)} for number in ALIKE]
    members: list[Any] = [[number, None] for number in numbers] if tag == "dict" else list(numbers)

    with pytest.raises(SerializationError, match=r"257 members have the same hash value, the limit is 256"):
        serializer.loads(serializer.pack({f"!{tag}": members}))


@both
@pytest.mark.parametrize("value", [set(ALIKE), frozenset(ALIKE), dict.fromkeys(ALIKE)], ids=lambda v: type(v).__name__)
def test_dumps_refuses_members_with_one_hash_value(make: type[TaggedSerializer], value: Any) -> None:
    """The error is raised in the caller, not in the worker."""
    with pytest.raises(SerializationError, match="the same hash value"):
        make().dumps(value)


@both
def test_some_members_with_one_hash_value_travel(make: type[TaggedSerializer]) -> None:
    """As many as the limit allows, among many others."""
    value = {*ALIKE[:MAX_ALIKE], *range(1, 1000)}

    assert make().loads(make().dumps(value)) == value


class Permission(enum.IntFlag):
    """An `IntFlag` accepts any number."""

    READ = 1


@both
def test_flags_from_anyone_do_not_fill_the_memory(make: type[TaggedSerializer]) -> None:
    """Python keeps each combination forever, so the serializer limits how many are kept."""
    serializer = make([Permission])
    tag = f"!{Permission.__module__}.{Permission.__qualname__}"

    values = [serializer.loads(serializer.pack({tag: number})) for number in range(2 * MAX_COMBINATIONS)]

    assert [(type(value), value) for value in values] == [
        (Permission, number) for number in range(2 * MAX_COMBINATIONS)
    ]
    assert len(Permission._value2member_map_) <= MAX_COMBINATIONS
    assert Permission.READ is Permission(1) is values[1]


@both
@pytest.mark.parametrize("made", [set(range(10_000)), frozenset(range(10_000)), dict.fromkeys(range(10_000))])
def test_members_whose_hash_values_collide_are_refused(
    make: type[TaggedSerializer], made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Different hash values can be chosen so that they collide in a table. Such a table is abandoned when it takes too
    long; a usual one is built."""
    serializer = make()
    data = serializer.dumps(made)
    assert serializer.loads(data) == made

    seconds = count()
    monkeypatch.setattr(tags, "thread_time", lambda: float(next(seconds)))

    with pytest.raises(SerializationError, match="take too long to add: their hash values collide"):
        serializer.loads(data)
