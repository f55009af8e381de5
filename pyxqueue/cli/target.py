"""The queue that a command acts on. It comes from options before or after the command, and from the environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
from attrs import define, field
from click.core import ParameterSource

from ..client.queue import TaskQueue, store_of
from ..client.settings import NO_LIMIT
from ..errors import ConfigurationError
from ..printable import printable, quoted
from ..stores import DEFAULT_URL, URL_VARIABLE, absolute
from ..urls import scheme_of, shown
from .loading import App, NoSuchModuleError
from .output import Decorated


@define
class Target:
    """A queue: that of an application's module (an app), or one named by its store, its name and its group."""

    given: dict[str, Any] = field(factory=dict, repr=False)
    """The options on the command line. They win over the environment, even if the two name different options."""
    environment: dict[str, Any] = field(factory=dict, repr=False)
    """The options from environment variables."""

    def set_option(self, name: str, value: Any, *, on_command_line: bool) -> None:
        (self.given if on_command_line else self.environment)[name] = value

    def find_app(self) -> App | None:
        """Return the app, or None if the command names a queue. Raises `click.UsageError` if it names both."""
        names = [f"--{name}" for name in ("queue", "group") if name in self.given]
        if "app" in self.given and names:
            raise click.UsageError(
                f"the app {quoted(self.given['app'])} determines the queue and the group: leave out {', '.join(names)}"
            )
        text = self.given.get("app") or (None if names else self.environment.get("app"))
        return App.parse(text, self.given.get("path", ".")) if text else None

    def apps(self) -> Sequence[App]:
        """Return the app, and further ones whose queues the same workers serve. Raises `click.UsageError` if none was
        given."""
        app = self.find_app()
        if app is None:
            raise click.UsageError("MODULE is missing; for example: pyxqueue worker rpc")
        return [app, *(App.parse(text, self.given.get("path", ".")) for text in self.given.get("also", ()))]

    @property
    def names_a_queue(self) -> bool:
        """Whether an app, a queue or a group was given."""
        return self.find_app() is not None or any(self.store_option(name) for name in ("queue", "group"))

    def load(self, app: App) -> TaskQueue:
        """Import and return the app's queue. Raises `ConfigurationError` for --url if the app names its own store."""
        self.set_default_store()
        queue = app.load(self.imports, self.given.get("sys_path", ()))
        if "url" in self.given and store_of(queue).given is not None:
            raise ConfigurationError(f"the queue of {app} names its own store: leave out --url")
        return queue

    def set_default_store(self) -> None:
        """Set ``PYXQUEUE_URL`` to --url, for this process and the processes it starts."""
        if "url" in self.given:
            os.environ[URL_VARIABLE] = self.given["url"]

    @property
    def imports(self) -> Sequence[str]:
        modules: Sequence[str] = self.given.get("imports", ())
        return modules

    def store_option(self, name: str) -> str | None:
        value: str | None = self.given.get(name, self.environment.get(name))
        return value

    def open(self, group: str | None = None) -> TaskQueue:
        """Return the queue, whether it exists or not. `group` replaces that of the options, unless they name an app."""
        app = self.find_app()
        if app is not None:
            try:
                queue = self.load(app)
            except NoSuchModuleError as error:
                raise ConfigurationError(f"{error}; or name the queue with --queue instead of a module") from error
        else:
            store: Any = self.store_option("url")
            queue = TaskQueue(
                store,
                stream_key=self.store_option("queue"),
                consumer_group=group or self.store_option("group") or "cg",
                accept=["msgpack"],
                queue_size=NO_LIMIT,
                eager=False,
            )
        if queue.eager is not None:
            raise ConfigurationError(f"{queue} is eager: its tasks ran when they were called and are not stored")
        click.get_current_context().call_on_close(queue.close)
        return queue

    def existing(self) -> TaskQueue:
        """Return the queue. Raises `click.ClickException` if its group does not exist, so that a misspelt name does not
        create a group."""
        queue = self.open()
        check_group(queue, queue.consumer_group)
        return queue

    def existing_groups(self) -> Sequence[TaskQueue]:
        """Return the queue once for each of its groups, or for the one group that was given."""
        if self.find_app() is not None or self.store_option("group"):
            return [self.existing()]
        return [self.open(group) for group in groups_of(self.open())]


def other_groups(shown: Sequence[TaskQueue]) -> Mapping[str, int | None]:
    """Return the groups that are not `shown`, and how many tasks wait in each; None if that is not known."""
    queue = shown[0]
    names = set(groups_of(queue)).difference(one.consumer_group for one in shown)
    return {name: _waiting(queue, name) for name in sorted(names)}


def groups_of(queue: TaskQueue) -> Sequence[str]:
    """Return the names of a queue's groups. Raises `click.ClickException` if the queue does not exist."""
    groups = queue.admin.groups()
    if not groups:
        raise click.ClickException(
            f"there is no queue {quoted(queue.stream_key)} at {place_of(queue)}: check the name and the store, or "
            f"enqueue a task first"
        )
    return groups


def check_group(queue: TaskQueue, group: str) -> None:
    """Raise `click.ClickException` if the queue does not have the group."""
    if group not in (groups := groups_of(queue)):
        names = printable(", ".join(groups))
        raise click.ClickException(
            f"the queue {quoted(queue.stream_key)} does not have a group {quoted(group)}; its groups: {names}"
        )


def place_of(queue: TaskQueue) -> str:
    """Return the URL of the queue's store, without its password and its query."""
    store = store_of(queue).given or os.environ.get(URL_VARIABLE) or DEFAULT_URL
    if not isinstance(store, str):
        return f"{type(store).__module__}.{type(store).__qualname__}"
    return shown(absolute(store))


def _waiting(queue: TaskQueue, group: str) -> int | None:
    try:
        depth = queue.admin.info(group).depth
    except ConfigurationError:  # only the application can open another group of its own backend
        return None
    return None if depth is None else depth.waiting


pass_target = click.make_pass_decorator(Target, ensure=True)


def _note(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value is None or value == ():
        return
    if parameter.name == "url" and not scheme_of(value):
        raise click.BadParameter(f"give a URL, such as redis://127.0.0.1:6379/0 or {DEFAULT_URL}", context, parameter)
    assert parameter.name is not None
    name = "app" if parameter.name == "module" else parameter.name
    on_command_line = context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    context.ensure_object(Target).set_option(name, value, on_command_line=on_command_line)


def _option(*names: str, **settings: Any) -> Callable[[Decorated], Decorated]:
    return click.option(*names, expose_value=False, callback=_note, show_envvar=True, **settings)


def app_options(command: Decorated) -> Decorated:
    """Add the options ``--path``, ``--app``, ``--import`` and ``--url``."""
    for option in (
        _option(
            "--url",
            envvar=URL_VARIABLE,
            help="The store, unless the app names its own.  [default: the file .pyxqueue/queue.db]",
        ),
        _option("--import", "imports", metavar="MODULE", multiple=True, help="Another module with tasks to import."),
        _option("--app", envvar="PYXQUEUE_APP", metavar="MODULE[:QUEUE]", help="The queue of a module."),
        _option("--also", metavar="MODULE[:QUEUE]", multiple=True, hidden=True),
        _option("--sys-path", metavar="DIR", multiple=True, hidden=True),
        _option("--path", metavar="DIR", help="Where to import from.  [default: the current directory]"),
    ):
        command = option(command)
    return command


def target_options(command: Decorated) -> Decorated:
    """Add the options of `app_options`, ``--queue`` and ``--group``."""
    group = _option("--group", envvar="PYXQUEUE_GROUP", help="The consumer group, without an app.  [default: cg]")
    queue = _option("--queue", envvar="PYXQUEUE_QUEUE", help="The queue's name, without an app.  [default: tasks]")
    return app_options(queue(group(command)))


def _note_several(context: click.Context, _parameter: click.Parameter, value: Sequence[str]) -> None:
    target = context.ensure_object(Target)
    for name, given in (("app", value[:1]), ("also", value[1:])):
        if given:
            target.set_option(name, given[0] if name == "app" else given, on_command_line=True)


modules_argument = click.argument(
    "modules", metavar="[MODULE[:QUEUE]]...", nargs=-1, expose_value=False, callback=_note_several
)
"""Arguments of which the first has the same meaning as ``--app``; the workers serve the queues of all."""
module_argument = click.argument(
    "module", metavar="[MODULE[:QUEUE]]", required=False, expose_value=False, callback=_note
)
"""An argument with the same meaning as ``--app``."""
