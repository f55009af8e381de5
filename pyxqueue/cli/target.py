"""Which queue a command is about, from options that may stand before or after the command, and the environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click
from attrs import define, field
from click.core import ParameterSource

from ..client.moving import NO_LIMIT
from ..client.queue import TaskQueue, store_of
from ..errors import ConfigurationError
from ..printable import printable, quoted
from ..stores import DEFAULT_URL, URL_VARIABLE, absolute
from ..urls import scheme_of, shown
from .loading import App, NoSuchModuleError

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@define
class Target:
    """An app's queue, or one named by its store, its name and its group."""

    said: dict[str, Any] = field(factory=dict, repr=False)
    """What the command line says. It wins over the environment, also where the two speak of different things."""
    environment: dict[str, Any] = field(factory=dict, repr=False)

    def note(self, name: str, value: Any, *, by_hand: bool) -> None:
        (self.said if by_hand else self.environment)[name] = value

    def find_app(self) -> App | None:
        """The app, or None if the command names a queue. Raises `click.UsageError` if the command line says both."""
        names = [f"--{name}" for name in ("queue", "group") if name in self.said]
        if "app" in self.said and names:
            raise click.UsageError(
                f"the app {quoted(self.said['app'])} says which queue it is: leave out {', '.join(names)}"
            )
        text = self.said.get("app") or (None if names else self.environment.get("app"))
        return App.parse(text, self.said.get("path", ".")) if text else None

    def app(self) -> App:
        """The app. Raises `click.UsageError` if there is none."""
        app = self.find_app()
        if app is None:
            raise click.UsageError("which tasks? Say MODULE, for example: pyxqueue worker rpc")
        return app

    @property
    def names_a_queue(self) -> bool:
        """Whether an app, a queue or a group was named; without, there is no saying which queue is meant."""
        return self.find_app() is not None or any(self.store_option(name) for name in ("queue", "group"))

    def load(self, app: App) -> TaskQueue:
        """The app's queue. Raises `ConfigurationError` also for a --url that it would not follow."""
        self.set_default_store()
        queue = app.load(self.imports, self.said.get("sys_path", ()))
        if "url" in self.said and store_of(queue).given is not None:
            raise ConfigurationError(f"the queue of {app} says where its store is: --url cannot change it")
        return queue

    def set_default_store(self) -> None:
        """Let --url be what ``PYXQUEUE_URL`` is, for this process and those it starts."""
        if "url" in self.said:
            os.environ[URL_VARIABLE] = self.said["url"]

    @property
    def imports(self) -> Sequence[str]:
        modules: Sequence[str] = self.said.get("imports", ())
        return modules

    def store_option(self, name: str) -> str | None:
        value: str | None = self.said.get(name, self.environment.get(name))
        return value

    def open(self, group: str | None = None) -> TaskQueue:
        """The queue, whether it exists or not; `group` replaces the one of the options, unless they name an app."""
        app = self.find_app()
        if app is not None:
            try:
                queue = self.load(app)
            except NoSuchModuleError as error:
                raise ConfigurationError(f"{error}; a queue without its module is named by --queue") from error
        else:
            group = group or self.store_option("group") or "cg"
            queue = _named(self.store_option("url"), self.store_option("queue"), group)
        if queue.eager is not None:
            raise ConfigurationError(f"{queue} is eager: its tasks ran where they were enqueued, no store has them")
        click.get_current_context().call_on_close(queue.close)
        return queue

    def existing(self) -> TaskQueue:
        """The queue, if its group exists: looking at a name that was misspelt must not make a group of it.

        Raises `click.ClickException` otherwise.
        """
        queue = self.open()
        check_group(queue, queue.consumer_group)
        return queue

    def existing_groups(self) -> Sequence[TaskQueue]:
        """The queue once for each group, or for the one group that was chosen."""
        if self.find_app() is not None or self.store_option("group"):
            return [self.existing()]
        return [self.open(group) for group in groups_of(self.open())]


def _named(store: Any, name: str | None, group: str) -> TaskQueue:
    return TaskQueue(store, stream_key=name, consumer_group=group, accept=["msgpack"], queue_size=NO_LIMIT, eager=False)


def other_groups(shown: Sequence[TaskQueue]) -> Mapping[str, int | None]:
    """The groups of the queue that are not `shown`, and how much waits there; None where that cannot be told."""
    queue = shown[0]
    names = set(groups_of(queue)).difference(one.consumer_group for one in shown)
    return {name: _waiting(queue, name) for name in sorted(names)}


def groups_of(queue: TaskQueue) -> Sequence[str]:
    """The names of its groups. Raises `click.ClickException` if there are none: there is no such queue."""
    groups = queue.admin.groups()
    if not groups:
        raise click.ClickException(
            f"there is no queue {quoted(queue.stream_key)} at {place_of(queue)}: nothing was enqueued, no worker "
            f"has "
            f"served it"
        )
    return groups


def check_group(queue: TaskQueue, group: str) -> None:
    """Raises `click.ClickException` if the queue has no such group."""
    if group not in (groups := groups_of(queue)):
        there = printable(", ".join(groups))
        raise click.ClickException(f"the queue {quoted(queue.stream_key)} has no group {quoted(group)}, only {there}")


def place_of(queue: TaskQueue) -> str:
    """Where the queue's store is, for people: no password, and nothing behind a question mark."""
    store = store_of(queue).given or os.environ.get(URL_VARIABLE) or DEFAULT_URL
    if not isinstance(store, str):
        return f"{type(store).__module__}.{type(store).__qualname__}"
    return shown(absolute(store))


def _waiting(queue: TaskQueue, group: str) -> int | None:
    try:
        depth = queue.admin.info(group).depth
    except ConfigurationError:  # only the application can open another group of a store that it made
        return None
    return None if depth is None else depth.ready + depth.delayed


pass_target = click.make_pass_decorator(Target, ensure=True)


def _note(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value is None or value == ():
        return
    if parameter.name == "url" and not scheme_of(value):
        raise click.BadParameter(
            f"it must be a URL, such as redis://127.0.0.1:6379/0 or {DEFAULT_URL}", context, parameter
        )
    assert parameter.name is not None
    by_hand = context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    context.ensure_object(Target).note("app" if parameter.name == "module" else parameter.name, value, by_hand=by_hand)


def _option(*names: str, **settings: Any) -> Callable[[Decorated], Decorated]:
    return click.option(*names, expose_value=False, callback=_note, show_envvar=True, **settings)


def app_options(command: Decorated) -> Decorated:
    """``--path``, ``--app``, ``--import`` and ``--url``."""
    for option in (
        _option(
            "--url",
            envvar=URL_VARIABLE,
            help="The store, unless the app names its own.  [default: the file .pyxqueue/queue.db]",
        ),
        _option("--import", "imports", metavar="MODULE", multiple=True, help="Import this too: it has more tasks."),
        _option("--app", envvar="PYXQUEUE_APP", metavar="MODULE[:QUEUE]", help="The queue of a module."),
        _option("--sys-path", metavar="DIR", multiple=True, hidden=True),
        _option("--path", metavar="DIR", help="Where to import from.  [default: the current directory]"),
    ):
        command = option(command)
    return command


def name_options(command: Decorated) -> Decorated:
    """``--queue`` and ``--group``."""
    for option in (
        _option("--group", envvar="PYXQUEUE_GROUP", help="The consumer group, without an app.  [default: cg]"),
        _option("--queue", envvar="PYXQUEUE_QUEUE", help="The queue's name, without an app.  [default: tasks]"),
    ):
        command = option(command)
    return command


def target_options(command: Decorated) -> Decorated:
    """All of them."""
    return app_options(name_options(command))


module_argument = click.argument(
    "module", metavar="[MODULE[:QUEUE]]", required=False, expose_value=False, callback=_note
)
"""The same as ``--app``."""
