"""The optional protocol of a backend that lists the tasks of one place."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ..model.places import Place, PlacePage


@runtime_checkable
class HasPlaces(Protocol):
    """An inspector that pages through one place after the other, however much is in the others.

    * **I8 Pages.** `page` shows each task that is in its place all the time once, in pages.

      - A page has at most `count` tasks, each of them in the place. It may have fewer, or none, and still be followed
        by others.
      - What comes and goes between two pages hides no other task and shows none twice.
      - The order is that of the place: ready tasks by their class, the higher first, in each line of a class the one
        that waits longest first; delayed ones by the time at which they are due; failed and ended ones the newest
        first; others in an order of the store.
      - A task is what `show` says of it, with at most `peek` bytes of its arguments, and of its result. `body_bytes`
        and `value_bytes` are how many these have; a message that cannot be read counts with all its fields.
      - A page costs the store what its tasks cost, with a number of requests that does not depend on how many tasks
        there are, here or elsewhere, nor on how large their arguments and results are.
    """

    def page(self, place: Place, cursor: str, count: int, peek: int) -> PlacePage:
        """Return the page behind `cursor`, which is "" for the first one, or the `next` of another page of this place.

        Raises `ConfigurationError` for any other cursor.
        """
        ...
