"""Running a failed task again with other arguments: a new task that names the old one, which is then deleted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..calls import Call
from ..codec import Codec, dumps_call
from ..errors import ConfigurationError, SealError, SerializationError, TaskStateError, UnknownTaskError
from ..ids import TaskId, id_text
from ..model.locks import lock_of
from ..model.message import NAME_PATTERN, RETRY_OF_HEADER, Message, TaskInfo, TaskStatus, evolve
from ..options import CallOptions, TaskOptions
from ..options.uniqueness import Guard, kind_of
from ..printable import quoted
from ..protocols import Serializer
from ..registry import Registry, TaskSpec
from ..serializers import JSONSerializer
from .producing import Producer
from .queue_store import QueueStore
from .reasons import known
from .result import AsyncResult


class EditsTasks:
    """The part of `Admin` that runs a failed task again with other arguments."""

    _store: QueueStore
    _producer: Producer

    def edit(
        self,
        task_id: TaskId,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        priority: int | None = None,
    ) -> AsyncResult[Any]:
        """Run a failed task again with other arguments, under another name, or with another priority. Returns the
        handle of the new task.

        What is not given stays as it is: `args` replaces all positional arguments, `kwargs` all named ones. If this
        program has the task, the arguments must fit its function. The new task has an id of its own, begins at its
        first attempt and its first step, and has the id of the old one in its header ``pyxqueue-retry-of``.

        It is enqueued first, and then the old one is deleted. If the program ends in between, both are there, and the
        same edit again deletes the old one and enqueues nothing: the new id follows from the old one and the change.

        Raises `TaskStateError` for a task that has not failed, or is part of a flow, and if another task has its lock;
        `ArgumentError`, `SerializationError` and `ConfigurationError` for what cannot be called.
        """
        if (args, kwargs, name, priority) == (None,) * 4:
            raise ConfigurationError(
                "edit() needs something to change: give args=, kwargs=, name= or priority=; retry() runs a task again "
                "as it is"
            )
        backend, old_id = self._store.here().backend, id_text(task_id)
        message = _editable(known(old_id, backend.show([old_id])[0], backend))
        call = _call(self._store.core.codec, message, args, kwargs)
        spec, producer = self._task(message, name)
        spec.signature.check(*call)
        guard = _guard(message, spec)
        options = _options(message, _new_id(producer.codec.writer, message, spec.name, call, priority), priority)
        (handle,) = producer.enqueue(spec, [call], options, None, guard)
        if handle.task_id != options.task_id:
            raise TaskStateError(
                f"task {old_id} was not edited: task {handle.task_id} has the lock of the new call; wait until that "
                f"has ended, or cancel it"
            )
        if not backend.delete([old_id])[0] and (left := backend.show([old_id])[0]) is not None:
            raise TaskStateError(
                f"task {old_id} is {left.status.name}: another program has retried it meanwhile. Task "
                f"{handle.task_id}, with the other arguments, was enqueued all the same: cancel one of them"
            )
        return handle

    def _task(self, message: Message, name: str | None) -> tuple[TaskSpec, Producer]:
        """Return the task to call, and what enqueues its calls. A task that this program does not have is called as
        the old message says, in its serializer."""
        core, wanted = self._store.core, message.name if name is None else name
        if not isinstance(wanted, str) or not NAME_PATTERN.fullmatch(wanted):
            raise ConfigurationError(
                f"task name {quoted(wanted)} is not valid: use 1 to 200 letters, digits, _ . < > -"
            )
        if (spec := core.registry.get(wanted)) is not None:
            return spec, self._producer
        if name is not None and len(core.registry):
            raise ConfigurationError(f"this program has no task {quoted(name)}; it has {_names(core.registry)}")
        if message.gates or message.share:
            raise _needs_module(message, "limits" if message.gates else "a share of a tenant")
        writer = core.codec.serializers.get(message.serializer)
        if writer is None:
            raise ConfigurationError(
                f"task {message.id} was written by the serializer {quoted(message.serializer)}, which this program "
                f"does not have: name the module of its queue, or give it TaskQueue(accept=[...])"
            )
        codec = evolve(core.codec, writer=writer)
        producer = evolve(self._producer, codec=codec, fairness=None, check=lambda _spec: None)
        return evolve(_ANY, name=wanted), producer


_ANY = TaskSpec("any", lambda *_args, **_kwargs: None, TaskOptions())
"""Stands for a task that this program does not have."""


def arguments_of_json(codec: Codec, name: str, text: str) -> Any:
    """Return arguments that people have written as JSON, with the tags of the JSON serializer for other types.

    Raises `ConfigurationError` with the `name` of the field or option.
    """
    serializer = codec.serializers.get("json") or JSONSerializer()
    try:
        value = serializer.loads(text.encode(errors="surrogateescape"))
    except (SerializationError, UnicodeEncodeError) as error:
        raise ConfigurationError(f"{name} is not JSON that can be read: {error}") from error
    if value is None:
        raise ConfigurationError(f"{name} is null: write [] or {{}} for no arguments")
    return value


def _editable(info: TaskInfo) -> Message:
    """Return the message of a failed task. Raises `TaskStateError` for a task that cannot be edited."""
    message = info.message
    if info.status is not TaskStatus.FAILURE:
        why = f"it is {info.status.name}, not FAILURE"
    elif message is None:
        raise UnknownTaskError(f"the message of task {info.id} is no longer kept: call the task again instead")
    elif not isinstance(message, Message):
        why = f"its message cannot be read: {message.reason}"
    elif message.flow or message.after or message.successors:
        why = f"it is part of the flow {message.flow}, whose tasks know it by its id: retry it as it is"
    else:
        return message
    raise TaskStateError(f"task {info.id} was not edited: {why}")


def _call(codec: Codec, message: Message, args: object, kwargs: object) -> Call:
    """Return the new arguments; of what is None, those of the message. Its seal is verified in any case, for its
    headers are copied."""
    if args is not None and (isinstance(args, str | bytes) or not isinstance(args, Sequence)):
        raise ConfigurationError(f"args= must be a list of the positional arguments, not {quoted(args)}")
    if kwargs is not None and not (isinstance(kwargs, Mapping) and all(isinstance(key, str) for key in kwargs)):
        raise ConfigurationError(f"kwargs= must be a mapping of the named arguments, not {quoted(kwargs)}")
    if codec.seal is None and message.seal:
        raise SealError(
            f"task {message.id} is sealed, and this program does not have a key: set PYXQUEUE_SEAL_KEYS here too"
        )
    old: Call = ([], {})
    try:
        old = codec.open_call(message)
    except SealError:
        raise
    except (SerializationError, KeyError) as error:
        if args is None or kwargs is None:
            raise SerializationError(
                f"the arguments of task {message.id} cannot be read here, so give both args= and kwargs=: {error}"
            ) from error
    return (old[0] if args is None else list(args)), (old[1] if kwargs is None else dict(kwargs))


def _guard(message: Message, spec: TaskSpec) -> Guard | None:
    """Return what keeps the new call from running beside an equal one. A lock that ends by time alone does not matter:
    an operator wants it to run."""
    guard = spec.options.guard
    lasting = guard if guard is not None and kind_of(guard).lasts else None
    lock = lock_of(message)
    if lock is not None and lock.kind.lasts and lasting is None:
        raise _needs_module(message, "a lock")
    return lasting


def _needs_module(message: Message, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"task {message.id} has {what}, which may follow from its arguments, and this program does not know how: name "
        f"the module of its queue, or call {message.name} in the application and delete the failed task"
    )


def _names(registry: Registry) -> str:
    return ", ".join(sorted(task.name for task in registry))


def _options(message: Message, task_id: str, priority: int | None) -> CallOptions:
    """Return the options of the new call. Raises `ConfigurationError`."""
    try:
        return CallOptions(
            task_id=task_id,
            headers={**message.headers, RETRY_OF_HEADER: message.id},
            priority=message.priority if priority is None else priority,
            expires=_lifetime(message),
        )
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"edit({quoted(message.id)}): {error}") from error


def _lifetime(message: Message) -> float | None:
    """Return the seconds that the old task had until it expired; None if it did not expire."""
    span = message.expires_ms - message.enqueued_ms
    return span / 1000 if message.expires_ms and span > 0 else None


def _new_id(writer: Serializer, message: Message, name: str, call: Call, priority: int | None) -> str:
    """Return the id of the task that replaces one: the same for the same change."""
    change = json.dumps([message.id, name, priority]).encode() + dumps_call(writer, *call)
    return hashlib.blake2b(change, digest_size=16, person=b"edit").hexdigest()
