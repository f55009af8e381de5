"""Which queue a command is about, from options that may stand before or after the command, and the environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from attrs import define, field
from click.core import ParameterSource

from ..queue import TaskQueue
from .loading import App

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_STORE = ("url", "queue", "group")


@define
class Target:
    """An app's queue, or one named by its store, its name and its group."""

    said: dict[str, Any] = field(factory=dict)
    """What the command line says. It wins over the environment, also where the two speak of different things."""
    environment: dict[str, Any] = field(factory=dict)

    def note(self, name: str, value: Any, *, by_hand: bool) -> None:
        (self.said if by_hand else self.environment)[name] = value

    def find_app(self) -> App | None:
        """The app, or None if the command is about a store. Raises `click.UsageError` if it is said to be both."""
        store = [f"--{name}" for name in _STORE if name in self.said]
        if "app" in self.said and store:
            raise click.UsageError(
                f"the app {self.said['app']!r} says where its queue is: leave out {', '.join(store)}"
            )
        text = self.said.get("app") or (None if store else self.environment.get("app"))
        return App.parse(text, self.said.get("path", ".")) if text else None

    def app(self) -> App:
        """The app. Raises `click.UsageError` if there is none."""
        app = self.find_app()
        if app is None:
            raise click.UsageError("which tasks? Say MODULE, for example: pyxqueue worker rpc")
        return app

    @property
    def imports(self) -> Sequence[str]:
        return self.said.get("imports", ())

    def store_option(self, name: str) -> str | None:
        value: str | None = self.said.get(name, self.environment.get(name))
        return value

    def open(self, group: str | None = None) -> TaskQueue:
        """The queue to look at; `group` replaces the group that the options name, where they do not name an app."""
        app = self.find_app()
        if app is not None:
            return app.load(self.imports)
        return TaskQueue(
            self.store_option("url"),
            stream_key=self.store_option("queue"),
            consumer_group=group or self.store_option("group") or "cg",
            accept=["msgpack"],
            eager=False,
        )


pass_target = click.make_pass_decorator(Target, ensure=True)


def _note(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value is None or value == ():
        return
    assert parameter.name is not None
    by_hand = context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    context.ensure_object(Target).note("app" if parameter.name == "module" else parameter.name, value, by_hand=by_hand)


def _option(*names: str, **settings: Any) -> Callable[[Decorated], Decorated]:
    return click.option(*names, expose_value=False, callback=_note, show_envvar=True, **settings)


def app_options(command: Decorated) -> Decorated:
    """``--path``, ``--app`` and ``--import``."""
    for option in (
        _option("--import", "imports", metavar="MODULE", multiple=True, help="Import this too: it has more tasks."),
        _option("--app", envvar="PYXQUEUE_APP", metavar="MODULE[:QUEUE]", help="The queue of a module."),
        _option("--path", metavar="DIR", help="Where to import from.  [default: the current directory]"),
    ):
        command = option(command)
    return command


def store_options(command: Decorated) -> Decorated:
    """``--url``, ``--queue`` and ``--group``."""
    for option in (
        _option("--group", envvar="PYXQUEUE_GROUP", help="The consumer group.  [default: cg]"),
        _option("--queue", envvar="PYXQUEUE_QUEUE", metavar="STREAM_KEY", help="The queue's name.  [default: tasks]"),
        _option("--url", envvar="PYXQUEUE_URL", help="Where the store is, if there is no --app."),
    ):
        command = option(command)
    return command


def target_options(command: Decorated) -> Decorated:
    """All of them."""
    return app_options(store_options(command))


module_argument = click.argument(
    "module", metavar="[MODULE[:QUEUE]]", required=False, expose_value=False, callback=_note
)
"""The same as ``--app``."""
