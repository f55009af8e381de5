"""`TaskQueue.resource`: what each process opens once for the tasks of a queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    from ..core import QueueCore
    from ..resources import Resource

T = TypeVar("T")


class KeepsResources:
    """Base of `TaskQueue`."""

    core: QueueCore

    @overload
    def resource(self, factory: Callable[[], Iterator[T]], /) -> Resource[T]: ...
    @overload
    def resource(self, factory: Callable[[], T], /) -> Resource[T]: ...
    def resource(self, factory: Callable[[], Any], /) -> Resource[Any]:
        """Return a `Resource` that this function opens, once in each process, at the first call there.

        The function returns what it opens, or yields it and closes it below the ``yield``. The code below the ``yield``
        runs when the worker process ends, after its tasks; in any other program, at `close`. Resources that were opened
        last are closed first.
        """
        from ..resources import Resource, Resources, check_factory  # noqa: PLC0415 - not every queue has some

        check_factory(factory)
        if not self.core.resources:
            self.core.resources.append(Resources())
        return Resource(factory, self.core.resources[0])
