"""Who may do what, which requests are refused, and the headers of every answer."""

from __future__ import annotations

import asyncio
import base64
import binascii
import enum
import hmac
import inspect
import ipaddress
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from attrs import define, field, frozen
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import ConfigurationError
from ..printable import quoted


class Action(enum.StrEnum):
    """What a visitor may be allowed to do."""

    READ = "read"
    """Look at everything, with secrets hidden."""
    RAW = "raw"
    """Download arguments and results as they are stored, with all secrets that they have."""
    RETRY = "retry"
    EDIT = "edit"
    """Run a failed task again with other arguments."""
    CANCEL = "cancel"
    DELETE = "delete"
    PURGE = "purge"
    PAUSE = "pause"
    """Pause and resume queues, limits and names of tasks."""
    LIMIT = "limit"
    """Set the numbers of limits."""
    SCHEDULE = "schedule"
    """Pause, resume and run schedules."""
    DRAIN = "drain"
    STOP = "stop"


Rights: TypeAlias = frozenset[Action]


class Access:
    """What visitors may do: `ALL`, `READ` or `NONE`, or a set of the names of actions, such as ``{"retry", "pause"}``,
    which contains reading."""

    ALL: Final[Rights] = frozenset(Action)
    READ: Final[Rights] = frozenset({Action.READ})
    NONE: Final[Rights] = frozenset()


Rule: TypeAlias = Iterable[str] | Callable[[Request], Iterable[str] | Awaitable[Iterable[str]]]
"""What is given as ``access=``: rights, or a function of the request that returns them."""

HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "private, no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
"""The headers of every response."""
USER = "pyxqueue.dashboard.user"
"""The key in the scope of a request that has the name of a visitor who has logged in at the dashboard itself."""
_OPEN = ("/livez", "/readyz")
"""The paths that need no password."""
_PORT = re.compile(r":\d{1,5}\Z")


def rights_of(given: object) -> Rights:
    """Check what was given as rights, and return it as a set of actions. Raises `ConfigurationError`."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigurationError(
            f"access={quoted(given)} must be Access.ALL, Access.READ, Access.NONE, a set of actions such as "
            f"{{'retry', 'pause'}}, or a function of the request that returns one of these"
        )
    names = {str(one) for one in given}
    known = {str(action) for action in Action}
    if wrong := sorted(names - known):
        raise ConfigurationError(f"{quoted(wrong[0])} is not an action; the actions are {', '.join(sorted(known))}")
    actions = frozenset(Action(name) for name in names)
    return actions | Access.READ if actions else actions


@frozen
class Gate:
    """Decides what a request may do."""

    rule: Rule

    def __attrs_post_init__(self) -> None:
        if not callable(self.rule):
            rights_of(self.rule)

    async def rights(self, request: Request) -> Rights:
        """Return what the visitor may do."""
        given: Any = self.rule
        if callable(given):
            given = given(request)
            if inspect.isawaitable(given):
                given = await given
        return rights_of(given)


def cross_site(request: HTTPConnection) -> str:
    """Return why a request that changes something may come from another site; empty if it cannot.

    A browser sends the origin of a request, which a page of another site cannot forge. A program sends no origin; it
    has to send an ``Authorization: Bearer`` header instead, which no page can make a browser send here.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return "" if site == "same-origin" else f"it comes from another site (Sec-Fetch-Site: {site[:50]})"
    if origin is not None:
        return "" if _same_origin(origin, request) else f"it comes from another site (Origin: {origin[:100]})"
    if request.headers.get("authorization", "").lower().startswith("bearer "):
        return ""
    return "it does not say where it comes from: a program sends an Authorization: Bearer header"


def _same_origin(origin: str, request: HTTPConnection) -> bool:
    return origin.lower() == f"{request.url.scheme}://{request.headers.get('host', '')}".lower()


def with_headers(send: Send) -> Send:
    """Return `send` with the headers of every answer."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                if name != "cache-control" or name not in headers:  # that of a file with a hash says more
                    headers[name] = value
        await send(message)

    return sending


# A dashboard that is its own server


def host_of(text: str) -> str:
    """Return the name in a Host header, without its port and in lower case."""
    return _PORT.sub("", text.strip().lower()).rstrip(".")


def is_address(host: str) -> bool:
    """Return whether a host is an IP address. Unlike a name, an address cannot be made to lead elsewhere (DNS
    rebinding)."""
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


@frozen
class Login:
    """Names and passwords. A program may send a password alone, as a Bearer token."""

    passwords: Mapping[str, str] = field(repr=False)

    @classmethod
    def read(cls, text: str, where: str) -> Login:
        """Read lines of ``NAME:PASSWORD``. Raises `ConfigurationError`, without a password in it."""
        lines = [line.strip() for line in text.splitlines()]
        parts = [line.partition(":") for line in lines if line and not line.startswith("#")]
        pairs = [(name, password) for name, _, password in parts]
        if not pairs:
            raise ConfigurationError(f"{where} has no line NAME:PASSWORD")
        for number, (name, password) in enumerate(pairs, 1):
            if not name or len(password) < 8:
                raise ConfigurationError(
                    f"{where}: entry {number} must be NAME:PASSWORD, with a password of 8 characters or more"
                )
        return cls(dict(pairs))

    def user(self, header: str) -> str | None:
        """Return the name for an Authorization header; None if it is wrong. All passwords are compared, each in
        constant time, so that the time tells nothing about them."""
        kind, _, given = header.partition(" ")
        name, password = None, given.strip()
        if kind.lower() == "basic":
            try:
                decoded = base64.b64decode(password, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                return None
            name, _, password = decoded.partition(":")
        elif kind.lower() != "bearer":
            return None
        found = None
        for known, secret in self.passwords.items():
            same = hmac.compare_digest(secret.encode(), password.encode())
            if same and name in (None, known):
                found = known
        return found


@define
class Failures:
    """How often each address failed to log in lately."""

    most: int = 20
    """How many failures one address may have in a minute before it has to wait."""
    clock: Callable[[], float] = time.monotonic
    _times: dict[str, list[float]] = field(factory=dict)

    def too_many(self, address: str) -> bool:
        now = self.clock()
        recent = [one for one in self._times.pop(address, []) if now - one < 60]
        if recent:
            self._times[address] = recent
        return len(recent) >= self.most

    def add(self, address: str) -> None:
        while len(self._times) >= 1_000:
            del self._times[next(iter(self._times))]
        self._times.setdefault(address, []).append(self.clock())


@define(eq=False)
class Standalone:
    """An application in front of a dashboard that is its own server: it checks the Host header, so that no other name
    leads a browser here (DNS rebinding), and asks for a password."""

    app: ASGIApp
    hosts: Sequence[str]
    """The names by which it may be called, beside any address."""
    login: Login | None = None
    penalty: float = 0.5
    """How long a wrong password takes, in seconds."""
    failures: Failures = field(factory=Failures)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refusal := await self._refusal(scope)) is not None:
            await refusal(scope, receive, with_headers(send))
            return
        await self.app(scope, receive, send)

    async def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = host_of(headers.get("host", ""))
        if host not in self.hosts and not is_address(host):
            return PlainTextResponse("This dashboard does not have this name: allow it with --host NAME.\n", 421)
        if self.login is None or scope["path"].removeprefix(scope.get("root_path", "")) in _OPEN:
            return None
        address = (scope.get("client") or ("", 0))[0]
        if self.failures.too_many(address):
            return PlainTextResponse("Too many wrong passwords: wait a minute.\n", 429, {"retry-after": "60"})
        given = headers.get("authorization")
        if given is not None:
            if (user := self.login.user(given)) is not None:
                scope[USER] = user
                return None
            self.failures.add(address)
            await asyncio.sleep(self.penalty)
        challenge = {"www-authenticate": 'Basic realm="pyxqueue", charset="UTF-8"'}
        return PlainTextResponse("Give a name and a password.\n", 401, challenge)


def user_of(request: HTTPConnection) -> str:
    """Return the name of the visitor, as the dashboard's own login or the application around it has it."""
    own = request.scope.get(USER)
    if own is not None:
        return str(own)
    user = request.scope.get("user")
    return str(getattr(user, "display_name", "") or getattr(user, "username", "") or "") if user is not None else ""


def same_site_path(back: str) -> str:
    """Return a path below the dashboard to go back to; ``/`` for a text that could lead anywhere else."""
    parts = urlsplit(back)
    safe = back.startswith("/") and not back.startswith(("//", "/\\")) and not (parts.scheme or parts.netloc)
    return back if safe and back.isprintable() and back.isascii() and "\\" not in back else "/"
