"""Which queue a command is about, from options that may stand before or after the command, and the environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from typing import Any, TypeVar

import click
from attrs import define, field
from click.core import ParameterSource

from ..errors import ConfigurationError
from ..printable import quoted
from ..queue import TaskQueue
from ..stores import DEFAULT_URL, URL_VARIABLE, absolute
from ..urls import scheme_of, shown
from .loading import App, NoSuchModuleError, is_module, only_a_module

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

NO_LIMIT = 2**31
"""The history's limit is the app's to know: cancelling with a smaller one of our own would cut the history down."""


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

    def take_module(self, words: Sequence[str], *, everything: bool = False) -> Sequence[str]:
        """The ids among the words behind a command: a first one that names a module says which queue, as --app does.

        Where an option says which queue, all are ids. Where a variable does, one word alone is an id, unless only a
        module can look like it, or no id is wanted, since `everything` is meant.
        """
        if not words or {"app", "queue", "group"} & self.said.keys():
            return words
        alone = len(words) == 1 and not everything and self.names_a_queue
        known = only_a_module(words[0]) if alone else is_module(words[0], self.said.get("path", "."))
        return self.take_first(words) if known else words

    def take_first(self, words: Sequence[str]) -> Sequence[str]:
        """The words but for the first, which is the module."""
        self.note("app", words[0], by_hand=True)
        return words[1:]

    def take_one(self, words: Sequence[str], what: str) -> str:
        """The one word behind a command; where there are two, the first is the module."""
        left = self.take_first(words) if len(words) > 1 else self.take_module(words)
        if len(left) != 1:
            raise click.UsageError(f"say which {what}: [MODULE[:QUEUE]] {what.upper()}{self.taken(words, left)}")
        return left[0]

    @staticmethod
    def taken(words: Sequence[str], left: Sequence[str]) -> str:
        """For whoever meant an id by what is also the name of a module."""
        return (
            ""
            if left or not words
            else f"; {quoted(words[0])} is taken for the module, unless --queue or --app says which"
        )

    @property
    def names_a_queue(self) -> bool:
        """Whether an app, a queue or a group was named; without, there is no saying which queue is meant."""
        return self.find_app() is not None or any(self.store_option(name) for name in ("queue", "group"))

    def load(self, app: App) -> TaskQueue:
        """The app's queue. Raises `ConfigurationError` also for a --url that it would not follow."""
        self.set_default_store()
        queue = app.load(self.imports, self.said.get("sys_path", ()))
        if "url" in self.said and queue.store is not None:
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

    @staticmethod
    def place(queue: TaskQueue) -> str:
        """Where the queue's store is, for people: no password, and nothing behind a question mark."""
        store = queue.store or os.environ.get(URL_VARIABLE) or DEFAULT_URL
        if not isinstance(store, str):
            return f"{type(store).__module__}.{type(store).__qualname__}"
        return shown(absolute(store))

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
        groups = self.groups(queue)
        if queue.consumer_group not in groups:
            raise click.ClickException(
                f"the queue {quoted(queue.stream_key)} has no group {quoted(queue.consumer_group)}, only "
                f"{', '.join(groups)}"
            )
        return queue

    def existing_groups(self) -> Sequence[TaskQueue]:
        """The queue once for each group, or for the one group that was chosen."""
        if self.find_app() is not None or self.store_option("group"):
            return [self.existing()]
        return [self.open(group) for group in self.groups(self.open())]

    def named(self, name: str, group: str = "cg") -> AbstractContextManager[TaskQueue]:
        """Another queue of the store at --url, for a while."""
        return closing(_named(self.store_option("url"), name, group))

    def other_groups(self, shown: Sequence[TaskQueue]) -> Mapping[str, int | None]:
        """The groups of the queue that are not `shown`, and how much waits there; None where that cannot be told."""
        queue = shown[0]
        names = set(self.groups(queue)).difference(one.consumer_group for one in shown)
        return {name: _waiting(queue, name) for name in sorted(names)}

    def groups(self, queue: TaskQueue) -> Sequence[str]:
        """The names of its groups. Raises `click.ClickException` if there are none: there is no such queue."""
        groups = queue.stores.backend.groups()
        if not groups:
            raise click.ClickException(
                f"there is no queue {quoted(queue.stream_key)} at {self.place(queue)}: nothing was enqueued, no worker "
                f"has "
                f"served it"
            )
        return groups


def _named(store: Any, name: str | None, group: str) -> TaskQueue:
    return TaskQueue(store, stream_key=name, consumer_group=group, accept=["msgpack"], queue_size=NO_LIMIT, eager=False)


def _waiting(queue: TaskQueue, group: str) -> int | None:
    other = _named(queue.store, queue.stream_key, group)
    try:
        depth = other.stores.backend.depth()
    except ConfigurationError:  # the app made its store by hand: who else could open it?
        return None
    finally:
        other.close()
    return depth.ready + depth.delayed


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
