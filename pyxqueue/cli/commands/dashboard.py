"""``pyxqueue dashboard``: serve pages about queues, for a browser."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import webbrowser
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...client.queue import TaskQueue
from ...client.settings import NO_LIMIT
from ...errors import ConfigurationError
from ...printable import quoted
from ..logs import FORMATS, LEVELS, set_up_logging
from ..output import Decorated, say
from ..target import Target, app_options, modules_argument, pass_target

if TYPE_CHECKING:
    from ...dashboard.access import Login


PASSWORDS = "PYXQUEUE_DASHBOARD_AUTH"
"""The variable with lines NAME:PASSWORD."""
_MAX_QUEUES = 100


def _option(*names: str, **settings: Any) -> Callable[[Decorated], Decorated]:
    """Return an option that can also be given as an environment variable."""
    variable = f"PYXQUEUE_DASHBOARD_{names[-1].lstrip('-').replace('-', '_').upper()}"
    return click.option(*names, envvar=settings.pop("envvar", variable), show_envvar=True, **settings)


def dashboard_options(command: Decorated) -> Decorated:
    """Add the options of the server and of the pages."""
    for option in (
        _option("--log-format", type=click.Choice(FORMATS), default="text", show_default=True,
            help="Plain text, or one JSON object per line."),
        _option("--log-level", type=click.Choice(LEVELS), help="The lowest level that is logged.  [default: info]"),
        _option("--open", is_flag=True, help="Open the dashboard in a browser."),
        _option("--title", metavar="TEXT", default="", help="The title of the pages."),
        _option("--badge", metavar="TEXT", default="", help="A word beside the title, such as production."),
        _option("--root-path", metavar="PATH", default="",
            help="The path below which a proxy serves the dashboard, such as /queues."),
        _option("--host", "hosts", metavar="NAME", multiple=True, envvar="PYXQUEUE_DASHBOARD_HOST",
            help="Another name by which browsers call the dashboard; repeat it for more."),
        _option("--insecure-no-auth", is_flag=True,
            help="Ask for no password although --listen can be reached from other machines."),
        _option("--read-only", is_flag=True, help="Nobody can change anything, or download arguments and results."),
        _option("--auth-file", metavar="FILE",
            help=f"A file with lines NAME:PASSWORD; or give the lines in {PASSWORDS}."),
        _option("--listen", metavar="ADDRESS:PORT", default="127.0.0.1:8642", show_default=True,
            help="Where to listen."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command()
@modules_argument
@dashboard_options
@app_options
@pass_target
def dashboard(
    target: Target,
    /,
    *,
    listen: str,
    auth_file: str | None,
    read_only: bool,
    insecure_no_auth: bool,
    hosts: Sequence[str],
    root_path: str,
    badge: str,
    title: str,
    open: bool,  # noqa: A002 - the name of the option
    log_level: str | None,
    log_format: str,
) -> None:
    """Serve pages about the queues of the given modules, or about all queues of the store.

    It listens on this machine only. To listen elsewhere, give passwords with --auth-file, and let a proxy add TLS.
    """
    address, port = _address(listen)
    login = _login(auth_file)
    if not _is_loopback(address) and login is None and not insecure_no_auth:
        raise ConfigurationError(
            f"{listen} can be reached from other machines: give passwords with --auth-file, or say --insecure-no-auth"
        )
    set_up_logging(log_level, log_format)
    from ...dashboard import Access, Dashboard  # noqa: PLC0415 - after the checks, which need no extra
    from ...dashboard.access import Standalone, host_of  # noqa: PLC0415 - as above

    app = Dashboard(
        _queues(target),
        access=Access.READ if read_only else Access.ALL,
        title=title,
        badge=badge,
    )
    names = (address, "localhost", socket.gethostname().lower(), *map(host_of, hosts))
    listener = _listener(address, port)
    url = f"http://{f'[{address}]' if ':' in address else address}:{listener.getsockname()[1]}{root_path.rstrip('/')}/"
    say(f"dashboard at {url}{'' if login else ', without a password'}; ^C stops it")
    if open:
        webbrowser.open(url)
    _serve(Standalone(app, names, login), app.close, listener, root_path)


def _address(listen: str) -> tuple[str, int]:
    """Return an address and a port. Raises `ConfigurationError`."""
    address, colon, port = listen.rpartition(":")
    address = address.removeprefix("[").removesuffix("]")
    if not colon or not address or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ConfigurationError(f"--listen {quoted(listen)} must be ADDRESS:PORT, such as 127.0.0.1:8642")
    return address, int(port)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _login(auth_file: str | None) -> Login | None:
    """Return the passwords, None if there are none to ask for. Raises `ConfigurationError`."""
    from ...dashboard.access import Login  # noqa: PLC0415 - it needs the extra

    if auth_file is not None:
        try:
            return Login.read(Path(auth_file).read_text(encoding="utf-8"), f"the file {auth_file}")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise ConfigurationError(f"--auth-file {auth_file} cannot be read: {reason}") from error
    if given := os.environ.get(PASSWORDS):
        return Login.read(given, PASSWORDS)
    return None


def _listener(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family)
    except OSError as error:
        raise click.ClickException(f"cannot listen on {address}:{port}: {error.strerror or error}") from error


def _queues(target: Target) -> Iterable[TaskQueue] | Callable[[], Iterable[TaskQueue]]:
    """Return the queues of the modules; without one, a function that finds those of the store."""
    if target.find_app() is not None:
        return [target.load(app) for app in target.apps()]
    store: Any = target.store_option("url")

    def queue(name: str | None = None, group: str = "cg") -> TaskQueue:
        return TaskQueue(store, name, consumer_group=group, accept=["msgpack"], queue_size=NO_LIMIT, eager=False)

    any_queue = queue()

    def found() -> list[TaskQueue]:
        page = any_queue.admin.queues(_MAX_QUEUES)
        return [any_queue] if page is None else [queue(one.queue, one.group) for one in page.queues if one.depth]

    return found


def _serve(app: Any, close: Callable[[], None], listener: socket.socket, root_path: str) -> None:
    """Serve until SIGINT or SIGTERM."""
    import uvicorn  # noqa: PLC0415 - only this command needs it

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            close()  # else it would wait for the streams; not in the signal's handler, which may interrupt a lock
            await super().shutdown(sockets)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # uvicorn sends itself the signal again when it has stopped
    config = uvicorn.Config(
        app, root_path=root_path.rstrip("/"), log_config=None, access_log=False, server_header=False,
        timeout_graceful_shutdown=5,
    )  # fmt: skip
    with listener:
        Server(config).run(sockets=[listener])
