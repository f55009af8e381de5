"""Finds and imports the `TaskQueue` that ``MODULE[:QUEUE]`` names."""

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
    """No module has that name."""


class ImportFailed(click.ClickException):
    """The user's module raised an error while it was imported. The message ends with the traceback."""

    exit_code = 2


@frozen
class App:
    """The place of a queue: attribute `queue` of `module`, imported from `folder`. "" stands for the only queue of the
    module."""

    module: str
    queue: str
    folder: str

    @classmethod
    def parse(cls, text: str, folder: str) -> App:
        """Parse ``pkg.mod``, ``pkg.mod:queue`` or ``pkg/mod.py``. For a file, its own folder replaces `folder`.

        Raises `ConfigurationError` if `text` cannot name a module, or names a file that does not exist.
        """
        if "@" in text or ":/" in text:  # the text may contain a password, so it is not shown
            raise ConfigurationError(
                "MODULE is a URL: give the module as pkg.mod, pkg.mod:queue or pkg/mod.py, and the URL as --url"
            )
        module, _, queue = text.partition(":")
        if module.endswith(".py") or os.sep in module:
            folder, module = _file_to_module(Path(module).absolute())
        if not _MODULE.fullmatch(module):
            raise ConfigurationError(f"{quoted(text)} is not a module: use pkg.mod, pkg.mod:queue or pkg/mod.py")
        return cls(module, queue, str(Path(folder).absolute()))

    def __str__(self) -> str:
        return f"{self.module}:{self.queue}" if self.queue else self.module

    def load(self, imports: Sequence[str] = (), sys_path: Sequence[str] = ()) -> TaskQueue:
        """Import the module and the modules `imports`, which may define more tasks, and return the queue.

        `sys_path`: the import path of the program that started this process, to be used instead of the folder.

        Raises `ConfigurationError` if the queue does not exist, `ImportFailed` if the code of a module fails.
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
            raise _failed(f"the attributes of {self.module} cannot be read", error) from error

    def _import(self, name: str) -> ModuleType:
        being_imported.append(name)
        try:
            return importlib.import_module(name)
        except (Exception, SystemExit) as error:
            missing = error.name if isinstance(error, ModuleNotFoundError) else None
            if missing is not None and f"{name}.".startswith(f"{missing}."):
                raise NoSuchModuleError(
                    f"there is no module {quoted(missing)} in {self.folder}, and none is installed; give its folder "
                    f"with --path"
                ) from error
            raise _failed(f"{name} cannot be imported", error) from error
        finally:
            being_imported.pop()

    def _named(self, module: ModuleType) -> TaskQueue:
        try:
            found = operator.attrgetter(self.queue)(module)
        except AttributeError:
            names = ", ".join(_queues(module)) or "none"
            raise ConfigurationError(
                f"{self.module} does not have an attribute {quoted(self.queue)}; its queues: {names}"
            ) from None
        if not isinstance(found, TaskQueue):
            raise ConfigurationError(f"{self} is a {type(found).__name__}, not a TaskQueue")
        return found

    def _only(self, module: ModuleType) -> TaskQueue:
        queues = _queues(module)
        if not queues:
            raise ConfigurationError(
                f"{self.module} does not have a TaskQueue at module level: name its place as {self.module}:QUEUE"
            )
        if len(queues) > 1:
            choices = ", ".join(f"{self.module}:{name}" for name in queues)
            raise ConfigurationError(f"{self.module} has {len(queues)} queues, name one of them: {choices}")
        return next(iter(queues.values()))


def only_a_module(text: str) -> bool:
    """Return whether `text` can name a module but cannot be the id of a task."""
    return ":" in text or os.sep in text


def is_module(text: str, folder: str) -> bool:
    """Return whether `text` names a module that can be found and does not belong to Python itself."""
    if only_a_module(text):
        return True
    if text.endswith(".py"):
        return Path(text).is_file()
    top = text.partition(".")[0]
    if not _MODULE.fullmatch(text) or top in sys.stdlib_module_names:
        return False
    found = PathFinder.find_spec(top, [str(Path(folder).absolute()), *sys.path])
    # A folder without __init__.py may have this name by coincidence.
    return found is not None and (found.origin is not None or "." in text)


def _file_to_module(file: Path) -> tuple[str, str]:
    """Return the folder to import a file from, and its module name, which includes the packages it is in."""
    if not file.is_file():
        raise ConfigurationError(f"the file {file} does not exist")
    folder = file.parent
    parts = [] if file.stem == "__init__" else [file.stem]
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return str(folder), ".".join(parts)


def _queues(module: ModuleType) -> dict[str, TaskQueue]:
    """Return the queues of a module by name. A queue with several names appears under the first."""
    found: dict[str, TaskQueue] = {}
    for name, value in vars(module).items():
        if issubclass(type(value), TaskQueue) and not any(value is other for other in found.values()):
            found[name] = value
    return found


def _failed(what: str, error: BaseException) -> ImportFailed:
    """Return the error with the traceback of the user's code, without the frames of this module and of importlib."""
    at = error.__traceback__
    while at is not None and ((file := at.tb_frame.f_code.co_filename) == __file__ or "importlib" in file):
        at = at.tb_next
    return ImportFailed(f"{what}\n{traceback_of(error, at).rstrip()}")
