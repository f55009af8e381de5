"""Errors of the driver without passwords, in whatever form these may occur there."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterable, Iterator
from urllib.parse import unquote, unquote_plus

from msgspec import Struct

_REPEATED = ", with args beginning with"
"""A server quotes the arguments of a command that it does not know: a login, or a task."""


class Told(Struct, frozen=True):
    """What may be shown of an error of the driver."""

    text: str
    cause: Exception | None
    """The error itself, if a traceback of it and its causes may be shown."""


def redacted(error: Exception, secrets: Iterable[str]) -> Told:
    """The type and text of an error of the driver, without anything that contains one of `secrets`."""
    forms = {form for secret in secrets for form in _forms(secret)}
    kind = type(error).__name__
    try:
        text = f"{kind}: {error}".partition(_REPEATED)[0]
        if _holds(text, forms):
            text = f"{kind}; its text holds a password"
        whole = all(_REPEATED not in one and not _holds(one, forms) for one in _texts(error))
    except Exception:  # noqa: BLE001 - the code of an exception may do anything
        return Told(kind, None)
    return Told(text, error if whole else None)


def _holds(text: str, forms: Iterable[str]) -> bool:
    return any(form in variant for variant in (text, unquote(text), unquote_plus(text)) for form in forms)


def _forms(secret: str) -> Iterator[str]:
    """A secret as it may occur in a text: as it is, in a `repr`, in one of its bytes, and in JSON."""
    encoded = secret.encode(errors="surrogateescape")
    yield from (secret, repr(secret)[1:-1], ascii(secret)[1:-1], repr(encoded)[2:-1], json.dumps(secret)[1:-1])


def _texts(error: BaseException) -> Iterator[str]:
    """All that a traceback shows of an error and of the errors that caused it."""
    left: list[BaseException | None] = [error]
    seen = set[int]()
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield repr(one)
        yield "".join(traceback.format_exception_only(one))
        left += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            left += one.exceptions
