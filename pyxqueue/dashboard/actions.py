"""What visitors can do to a queue. Each action is one function, with the right that it needs, in `ACTIONS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from attrs import frozen
from msgspec import Struct

from ..client.editing import arguments_of_json
from ..client.finding import Where
from ..client.queue import TaskQueue
from ..client.views import BatchResult
from ..errors import ConfigurationError
from ..ids import TaskId
from ..model.places import Place
from ..printable import counted, quoted
from .access import Action
from .reading import where_of
from .values import Filters

MAX_IDS = 1_000
"""The most tasks that one request changes."""
_REASONS = 10


_SENTENCES = {
    "paused": ("Paused", "It was paused already"),
    "resumed": ("Resumed", "It was not paused"),
    "set": ("The limit is set", ""),
    "reset": ("The limit is reset: what the code says counts again", ""),
    "enqueued": ("Enqueued as a new task", ""),
}
"""The sentences for an action on one thing, by whether it has changed something."""


@frozen
class Form:
    """The fields of a request."""

    fields: Mapping[str, Sequence[str]]

    def one(self, name: str) -> str:
        """Return a field; empty if it was not given."""
        values = self.fields.get(name, ())
        return values[0].strip() if values else ""

    def needed(self, name: str) -> str:
        """Return a field. Raises `ConfigurationError` if it was not given."""
        if not (value := self.one(name)):
            raise ConfigurationError(f"the field {name} is missing")
        return value

    def many(self, name: str) -> list[str]:
        return [value for value in self.fields.get(name, ()) if value]

    def flag(self, name: str) -> bool:
        return self.one(name) in ("1", "on", "true", "True")

    def number(self, name: str) -> float | None:
        """Return a number; None if the field is empty. Raises `ConfigurationError`."""
        if not (text := self.one(name)):
            return None
        try:
            value = float(text)
        except ValueError:
            raise ConfigurationError(f"{name}={quoted(text)} is not a number") from None
        if not 0 <= value < 1e15:
            raise ConfigurationError(f"{name}={quoted(text)} must be 0 or more")
        return value

    def whole(self, name: str) -> int | None:
        value = self.number(name)
        if value is not None and value != int(value):
            raise ConfigurationError(f"{name}={quoted(self.one(name))} must be a whole number")
        return None if value is None else int(value)


class Done(Struct, frozen=True):
    """What an action has changed."""

    count: int
    what: str
    """A participle for people: "retried"."""
    refused: Sequence[str] = ()
    """Why other tasks were not changed, for the first of them."""
    refusals: int = 0
    left: bool = False
    """Whether there are more tasks that match."""
    targets: Sequence[str] = ()
    """What the action was applied to, for the audit log: ids, or a filter."""
    task: str = ""
    """The id of the task that the action has enqueued, to be shown next."""

    @property
    def text(self) -> str:
        """What has happened, in one line."""
        one, none = _SENTENCES.get(self.what, ("", ""))
        if self.what == "ordered":
            one = f"{counted(self.count, 'worker')} got the order"
        parts = [(one if self.count else none) or f"{self.what}: {self.count:,}"]
        if self.refusals:
            parts.append(f"not changed: {self.refusals:,}")
        if self.left:
            parts.append("more match")
        return ", ".join(parts)


Act: TypeAlias = Callable[[TaskQueue, Form], Done]


def _sure(form: Form, what: str) -> None:
    if not form.flag("sure"):
        raise ConfigurationError(f"nothing was changed: say that you are sure that {what} (sure=1)")


def _ids(form: Form) -> list[TaskId]:
    ids: list[TaskId] = list(dict.fromkeys(form.many("id")))
    if not ids:
        raise ConfigurationError("no task was chosen: give id=, or all=1 with a filter")
    if len(ids) > MAX_IDS:
        raise ConfigurationError(f"{counted(len(ids), 'task')} are too many for one request: at most {MAX_IDS:,}")
    return ids


def _done(result: BatchResult, what: str, targets: Sequence[Any]) -> Done:
    reasons = [str(error) for error in result.refused.values()]
    return Done(result.done, what, reasons[:_REASONS], len(reasons), result.left, list(map(str, targets)))


def _selected(form: Form, what: str) -> tuple[Place, Where]:
    """Return the tasks that a filter selects."""
    _sure(form, f"all tasks that fit are to be {what}")
    place = form.needed("place")
    if place not in frozenset(Place):
        raise ConfigurationError(f"place={quoted(place)} is not one of {', '.join(Place)}")
    return Place(place), where_of(Filters(*map(form.one, ("name", "error", "text", "older", "newer"))))


def _described(form: Form) -> list[str]:
    """Return a filter for the audit log."""
    names = ("place", "name", "error", "text", "older", "newer")
    return [f"{name}={form.one(name)}" for name in names if form.one(name)]


def _retry(queue: TaskQueue, form: Form) -> Done:
    fresh = form.flag("fresh")
    if not form.flag("all"):
        ids = _ids(form)
        return _done(queue.admin.retry(ids, fresh=fresh, ended=form.flag("ended")), "retried", ids)
    place, where = _selected(form, "retried")
    if place is not Place.FAILED:
        raise ConfigurationError("only failed tasks can be retried by a filter: give place=failed")
    return _done(queue.admin.retry(where=where, fresh=fresh, limit=MAX_IDS), "retried", _described(form))


def _edit(queue: TaskQueue, form: Form) -> Done:
    task_id, codec = form.needed("id"), queue.core.codec
    changes = {
        name: arguments_of_json(codec, name, form.one(name)) for name in ("args", "kwargs") if name in form.fields
    }
    handle = queue.admin.edit(task_id, **changes)
    return Done(1, "enqueued", targets=[task_id, handle.task_id], task=handle.task_id)


def _cancel(queue: TaskQueue, form: Form) -> Done:
    force = form.flag("force")
    if not form.flag("all"):
        ids = _ids(form)
        return _done(queue.admin.cancel(ids, force=force), "cancelled", ids)
    place, where = _selected(form, "cancelled")
    return _done(
        queue.admin.cancel(place=place, where=where, force=force, limit=MAX_IDS), "cancelled", _described(form)
    )


def _delete(queue: TaskQueue, form: Form) -> Done:
    if not form.flag("all"):
        ids = _ids(form)
        return _done(queue.admin.delete(ids), "deleted", ids)
    place, where = _selected(form, "deleted")
    return _done(queue.admin.delete(place=place, where=where, limit=MAX_IDS), "deleted", _described(form))


def _retry_flow(queue: TaskQueue, form: Form) -> Done:
    flow = form.needed("id")
    return Done(queue.admin.retry_flow(flow), "retried", targets=[flow])


def _purge(queue: TaskQueue, form: Form) -> Done:
    what = form.needed("what")
    if what not in ("waiting", "failed", "history"):
        raise ConfigurationError(f"what={quoted(what)} must be waiting, failed or history")
    _sure(form, f"all of {what} is to be deleted")
    return Done(queue.admin.purge(**{what: True}), "deleted", targets=[what])


def _part(form: Form) -> dict[str, str]:
    """Return the part of a queue that is to be paused. Raises `ConfigurationError` for an empty name, which must not
    mean the whole queue."""
    for name in ("task", "limit"):
        if name in form.fields:
            form.needed(name)
    return {name: form.one(name) for name in ("task", "limit", "key") if form.one(name)}


def _pause(queue: TaskQueue, form: Form) -> Done:
    part = _part(form)
    return Done(int(queue.admin.pause(**part)), "paused", targets=list(part.values()))


def _resume(queue: TaskQueue, form: Form) -> Done:
    part = _part(form)
    return Done(int(queue.admin.resume(**part)), "resumed", targets=list(part.values()))


def _limit(queue: TaskQueue, form: Form) -> Done:
    name, key = form.needed("name"), form.one("key") or None
    targets = [name if key is None else f"{name}/{key}"]
    if form.flag("reset"):
        queue.limits.set(name, **({"rate": None} if "rate" in form.fields else {"concurrency": None}), key=key)
        return Done(1, "reset", targets=targets)
    if "rate" in form.fields:
        _set_rate(queue, form, name, key)
    else:
        queue.limits.set(name, concurrency=_given(form, "concurrency"), key=key)
    return Done(1, "set", targets=targets)


def _given(form: Form, name: str) -> int:
    """Return a number. Raises `ConfigurationError` for an empty field, which must not mean that there is no limit."""
    if (value := form.whole(name)) is None:
        raise ConfigurationError(f"give a number as {name}, or reset=1 to let what the code says count again")
    return value


def _set_rate(queue: TaskQueue, form: Form, name: str, key: str | None) -> None:
    rate = _given(form, "rate")
    per = form.number("per")
    if per is None:
        raise ConfigurationError("a rate needs the length of its period in seconds (per)")
    queue.limits.set(name, rate=rate, per=per, burst=form.whole("burst") or 1, key=key)


def _schedule_run(queue: TaskQueue, form: Form) -> Done:
    name = form.needed("schedule")
    return Done(1, "enqueued", targets=[name, queue.schedules[name].trigger().task_id])


def _schedule_pause(queue: TaskQueue, form: Form) -> Done:
    queue.schedules[form.needed("schedule")].pause()
    return Done(1, "paused", targets=[form.one("schedule")])


def _schedule_resume(queue: TaskQueue, form: Form) -> Done:
    queue.schedules[form.needed("schedule")].resume()
    return Done(1, "resumed", targets=[form.one("schedule")])


def _drain(queue: TaskQueue, form: Form) -> Done:
    names = queue.admin.drain(form.needed("worker"))
    return Done(len(names), "ordered", targets=names)


def _stop(queue: TaskQueue, form: Form) -> Done:
    names = queue.admin.stop(form.needed("worker"))
    return Done(len(names), "ordered", targets=names)


ACTIONS: Mapping[str, tuple[Action, Act]] = {
    "retry": (Action.RETRY, _retry),
    "edit": (Action.EDIT, _edit),
    "retry_flow": (Action.RETRY, _retry_flow),
    "cancel": (Action.CANCEL, _cancel),
    "delete": (Action.DELETE, _delete),
    "purge": (Action.PURGE, _purge),
    "pause": (Action.PAUSE, _pause),
    "resume": (Action.PAUSE, _resume),
    "limit": (Action.LIMIT, _limit),
    "schedule_run": (Action.SCHEDULE, _schedule_run),
    "schedule_pause": (Action.SCHEDULE, _schedule_pause),
    "schedule_resume": (Action.SCHEDULE, _schedule_resume),
    "drain": (Action.DRAIN, _drain),
    "stop": (Action.STOP, _stop),
}
"""By name in the URL, the right that it needs and the function that does it."""
