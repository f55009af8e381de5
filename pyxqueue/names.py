"""The names of tasks and classes on the wire: import paths, also for definitions in a script.

``python rpc.py worker`` and ``pyxqueue worker rpc`` load the same file, the first as ``__main__``, the second as
``rpc``. A task must have the same name in both, and another process cannot import our ``__main__``.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, Self

from .errors import ConfigurationError
from .printable import quoted

# A spawned child process loads the script of its parent under the second name.
_SCRIPTS = ("__main__", "__mp_main__")
_MODULE = re.compile(r"[\w-]+")


def import_path(module_name: str) -> str:
    """Return the name under which another process can import the module. It differs for a script only.

    For a script that was run with ``-m``, it is the name it was run by (``package.__main__`` for a package); for a
    file, it is the stem of the file. It stays ``__main__`` if there is no such name (in a REPL or a notebook), or if
    that name cannot be imported.
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
    """Return the script that defines the task if no other process can import it; else an empty string."""
    if not task_name.startswith("__main__."):
        return ""
    return getattr(sys.modules.get("__main__"), "__file__", None) or ""


def home_of(value: object, first: Sequence[str]) -> tuple[str, str] | None:
    """Return the import path of a module that contains the value, and its name there; None if no module does. The
    modules `first` are searched first."""
    for module_name in [*first, *sys.modules]:
        path = import_path(module_name)
        content = list(getattr(sys.modules.get(module_name), "__dict__", {}).items())
        names = [name for name, one in content if one is value and path != "__main__"]
        if names:
            return path, names[0]
    return None


def qualified_name(obj: object) -> str:
    """Return ``module.qualname`` of a function or class, with the module's `import_path`.

    Raises `ConfigurationError` for an object without such a name, for example a `functools.partial`.
    """
    module = getattr(obj, "__module__", None)
    name = getattr(obj, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        raise ConfigurationError(
            f"{quoted(obj)} does not have a module and a name: give it a name, or use a plain function"
        )
    return f"{import_path(module)}.{name}"


class Unique:
    """An object that exists once in a process. Copying it returns the object itself, as with functions."""

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self


def home_or_error(value: object, module_name: str, function: object = None) -> tuple[str, str]:
    """Return where another process finds the value: the `import_path` of a module, and the value's name in it. The name
    may be that of `function` in a class.

    Raises `pickle.PicklingError` if no module contains the value.
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
    from pickle import PicklingError  # noqa: PLC0415 - only for the error

    raise PicklingError(
        f"{quoted(value)} cannot be pickled, because it is not at the top level of a module, where another process can "
        f"import it. Define it there, or pass its name (for a handle, its task_id) and look it up in the other process"
    )


def load(module_path: str, name: str) -> Any:
    """Return the value that `home_or_error` found. Raises `pickle.UnpicklingError` if this process does not have it."""
    script = next((one for one in _SCRIPTS if one in sys.modules and import_path(one) == module_path), module_path)
    module = sys.modules[script] if script in sys.modules else importlib.import_module(script)
    found = _walk(module, name)
    if found is None:
        from pickle import UnpicklingError  # noqa: PLC0415 - only for the error

        raise UnpicklingError(
            f"{module_path} does not have {quoted(name)} here, unlike in the program that pickled it: run the same code"
        )
    return found


def _walk(place: object, path: str) -> Any:
    for name in path.split("."):
        place = getattr(place, name, None)
    return place
