"""The names that tasks and classes have on the wire: import paths, also for what is defined in a script.

``python rpc.py worker`` and ``pyxqueue worker rpc`` load the same file, the first as ``__main__``, the second as
``rpc``. Both must mean the same task by the same name, and no other process has our ``__main__``.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence
from pathlib import PurePath
from pickle import PicklingError, UnpicklingError
from typing import Any, Self

from .errors import ConfigurationError
from .printable import quoted

# A child process that was spawned, not forked, loads its parent's script under the second name.
_SCRIPTS = ("__main__", "__mp_main__")
_MODULE = re.compile(r"[\w-]+")


def import_path(module_name: str) -> str:
    """The name under which another process can import the module; any but a script has it already.

    Run with ``-m``, a script has the name it was run by (a package's is ``package.__main__``); run as a file, it is
    the file's stem. Where neither exists (a REPL, a notebook) or can be imported, it stays ``__main__``.
    """
    if module_name not in _SCRIPTS:
        return module_name
    script = sys.modules.get(module_name)
    spec = getattr(script, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    stem = PurePath(getattr(script, "__file__", None) or "").stem
    return stem if _MODULE.fullmatch(stem) else "__main__"


def nameless_script(task_name: str) -> str:
    """The file that is run as a script and defines the task, if no other process can import it; else nothing."""
    if not task_name.startswith("__main__."):
        return ""
    return getattr(sys.modules.get("__main__"), "__file__", None) or ""


def home_of(value: object, first: Sequence[str]) -> tuple[str, str] | None:
    """A module that can be imported, and the name the value has in it; one of the modules `first`, if it is there."""
    for module_name in [*first, *sys.modules]:
        path = import_path(module_name)
        content = list(getattr(sys.modules.get(module_name), "__dict__", {}).items())
        names = [name for name, one in content if one is value and path != "__main__"]
        if names:
            return path, names[0]
    return None


def qualified_name(obj: object) -> str:
    """``module.qualname`` of a function or class, with the module's `import_path`.

    Raises `ConfigurationError` for an object that has no such name, for example a `functools.partial`.
    """
    module = getattr(obj, "__module__", None)
    name = getattr(obj, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        raise ConfigurationError(
            f"{quoted(obj)} has no module and name of its own: give it a name, or use a plain function"
        )
    return f"{import_path(module)}.{name}"


class Unique:
    """Something of which there is one in a process: a copy of it is itself, as with functions."""

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self


def home_or_error(value: object, module_name: str, function: object = None) -> tuple[str, str]:
    """Where another process finds the value: a module's `import_path`, and the name that the value has in it, or in a
    class in it, as `function` has.

    Raises `pickle.PicklingError` if it is nowhere.
    """
    module = sys.modules.get(module_name)
    names = [name for name, one in list(vars(module).items()) if one is value] if module is not None else []
    own = getattr(function, "__qualname__", "")
    if "." in own and "<" not in own and _walk(module, own) is value:
        names.append(own)
    if names:
        return import_path(module_name), names[0]
    if (home := home_of(value, [])) is not None:
        return home
    raise PicklingError(
        f"{quoted(value)} cannot be pickled: it is not at the top level of a module, where another process would look "
        f"for "
        f"it. Define it there, or pass on what names it (for a handle, its task_id) and look it up on the other side"
    )


def load(module_path: str, name: str) -> Any:
    """What `home_or_error` found, in this process. Raises `pickle.UnpicklingError` if it is not there."""
    script = next((one for one in _SCRIPTS if one in sys.modules and import_path(one) == module_path), module_path)
    module = sys.modules[script] if script in sys.modules else importlib.import_module(script)
    found = _walk(module, name)
    if found is None:
        raise UnpicklingError(f"{module_path} has no {quoted(name)} here: it was pickled by a program that has")
    return found


def _walk(place: object, path: str) -> Any:
    for name in path.split("."):
        place = getattr(place, name, None)
    return place
