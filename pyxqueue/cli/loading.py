"""From ``MODULE[:QUEUE]`` to the `TaskQueue` it means, with the tasks imported under their import paths."""

from __future__ import annotations

import importlib
import operator
import os
import re
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

import click
from attrs import frozen

from ..client.queue import TaskQueue
from ..errors import ConfigurationError
from ..printable import quoted, traceback_of
from ..supervisor.launch import being_imported

_MODULE = re.compile(r"[\w-]+(\.[\w-]+)*")


class NoSuchModuleError(ConfigurationError):
    """There is no module of that name."""


class ImportFailed(click.ClickException):
    """The user's module raised while it was imported; the message ends with where and what."""

    exit_code = 2


@frozen
class App:
    """Where a queue is: `queue` in `module`, which is found in `folder`; "" is the only queue there."""

    module: str
    queue: str
    folder: str

    @classmethod
    def parse(cls, text: str, folder: str) -> App:
        """Read ``pkg.mod``, ``pkg.mod:queue`` or ``pkg/mod.py``; a file's own folder replaces `folder`.

        Raises `ConfigurationError` for what cannot be a module, and for a file that is not there.
        """
        if "@" in text or ":/" in text:  # not shown: it may hold a password
            raise ConfigurationError("MODULE was given as a URL: use pkg.mod, pkg.mod:queue or pkg/mod.py, and --url")
        module, _, queue = text.partition(":")
        if module.endswith(".py") or os.sep in module:
            folder, module = _file_to_module(Path(module).absolute())
        if not _MODULE.fullmatch(module):
            raise ConfigurationError(f"{quoted(text)} names no module: use pkg.mod, pkg.mod:queue or pkg/mod.py")
        return cls(module, queue, str(Path(folder).absolute()))

    def __str__(self) -> str:
        return f"{self.module}:{self.queue}" if self.queue else self.module

    def load(self, imports: Sequence[str] = (), sys_path: Sequence[str] = ()) -> TaskQueue:
        """Import the module, and `imports`, which may have more tasks of the queue, and answer the queue.

        `sys_path`: where the program that starts this process imports from, instead of the folder.

        Raises `ConfigurationError` if it is not there, `ImportFailed` if the code of a module fails.
        """
        if sys_path:
            sys.path[:] = sys_path
        else:
            sys.path.insert(0, self.folder)
        module = self._import(self.module)
        for name in imports:
            self._import(name)
        try:
            return self._named(module) if self.queue else self._only(module)
        except ConfigurationError:
            raise
        except (Exception, SystemExit) as error:
            raise ImportFailed(_failure(f"{self.module} cannot be looked through for its queue", error)) from error

    def _import(self, name: str) -> ModuleType:
        being_imported.append(name)
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{name}.".startswith(f"{error.name}."):
                raise NoSuchModuleError(
                    f"there is no module {quoted(error.name)} in {self.folder}, nor installed; --path says where to "
                    f"look"
                ) from error
            raise ImportFailed(_failure(f"{name} cannot be imported", error)) from error
        except (Exception, SystemExit) as error:
            raise ImportFailed(_failure(f"{name} cannot be imported", error)) from error
        finally:
            being_imported.pop()

    def _named(self, module: ModuleType) -> TaskQueue:
        try:
            found = operator.attrgetter(self.queue)(module)
        except AttributeError:
            there = ", ".join(_queues(module)) or "none"
            raise ConfigurationError(f"{self.module} has no {quoted(self.queue)}; the queues in it: {there}") from None
        if not isinstance(found, TaskQueue):
            raise ConfigurationError(f"{self} is a {type(found).__name__}, not a TaskQueue")
        return found

    def _only(self, module: ModuleType) -> TaskQueue:
        queues = _queues(module)
        if not queues:
            raise ConfigurationError(f"there is no TaskQueue in {self.module}: say where it is, as {self.module}:QUEUE")
        if len(queues) > 1:
            choices = ", ".join(f"{self.module}:{name}" for name in queues)
            raise ConfigurationError(f"there are {len(queues)} queues in {self.module}, say which: {choices}")
        return next(iter(queues.values()))


def only_a_module(text: str) -> bool:
    """Whether it names a module and cannot be a task's id."""
    return ":" in text or os.sep in text


def is_module(text: str, folder: str) -> bool:
    """Whether it names a module that can be found, and is not one of Python's own, which have no queue."""
    if only_a_module(text):
        return True
    if text.endswith(".py"):
        return Path(text).is_file()
    top = text.partition(".")[0]
    if not _MODULE.fullmatch(text) or top in sys.stdlib_module_names:
        return False
    found = PathFinder.find_spec(top, [str(Path(folder).absolute()), *sys.path])
    return found is not None and (found.origin is not None or "." in text)  # a bare folder may be there by accident


def _file_to_module(file: Path) -> tuple[str, str]:
    """The folder to import a file from, and its name there: a file in a package is a module of that package."""
    if not file.is_file():
        raise ConfigurationError(f"there is no file {file}")
    folder = file.parent
    parts = [] if file.stem == "__init__" else [file.stem]
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return str(folder), ".".join(parts)


def _queues(module: ModuleType) -> dict[str, TaskQueue]:
    """The queues in a module by name, one with several names by its first."""
    found: dict[str, TaskQueue] = {}
    for name, value in vars(module).items():
        if issubclass(type(value), TaskQueue) and not any(value is other for other in found.values()):
            found[name] = value
    return found


def _failure(what: str, error: BaseException) -> str:
    """The traceback of the user's own code, without the way that led into it."""
    at = error.__traceback__
    while at is not None and (
        at.tb_frame.f_code.co_filename == __file__ or "importlib" in at.tb_frame.f_code.co_filename
    ):
        at = at.tb_next
    return f"{what}\n{traceback_of(error, at).rstrip()}"
