"""``pyxqueue metrics``: show the metrics of queues to Prometheus."""

from __future__ import annotations

import signal
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from typing import Any, cast

import click

from ...client.queue import TaskQueue
from ...errors import ConfigurationError
from ..output import say
from ..target import Target, modules_argument, pass_target, target_options

_AT_ONCE = 8
"""Requests that are answered at the same time; others are turned away."""
_PATIENCE = 5.0
"""How many seconds the server waits for a client."""
_BUSY = b"HTTP/1.0 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


@click.command()
@modules_argument
@target_options
@click.option(
    "--listen", metavar="HOST:PORT", default="127.0.0.1:9464", show_default=True, help="Where Prometheus finds them."
)
@click.option("--once", is_flag=True, help="Print the metrics, and exit.")
@pass_target
def metrics(target: Target, listen: str, once: bool) -> None:
    """Show how many tasks wait, run, end and fail, and how long that takes, to Prometheus.

    The metrics are at http://HOST:PORT/metrics. They are read from the store at each request, so one such program is
    enough for any number of workers. With several MODULEs, it shows the queues of all.
    """
    host, port = _address(listen)
    queues = _queues(target)
    if find_spec("prometheus_client") is None:
        raise ConfigurationError("the package prometheus-client is missing: install pyxqueue[prometheus]")
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - an extra

    from ...plugins.prometheus import QueueCollector  # noqa: PLC0415 - it needs that extra

    registry = CollectorRegistry(auto_describe=False)
    registry.register(QueueCollector(queues))
    if once:
        click.echo(_escaped(generate_latest(registry).decode()), nl=False)
    else:
        _serve(host, port, registry)


def _escaped(text: str) -> str:
    """Return the text without characters that a terminal would obey. A backslash in a label is written twice."""
    return "".join(one if one.isprintable() or one == "\n" else repr(one)[1:-1].replace("\\", "\\\\") for one in text)


def _queues(target: Target) -> list[TaskQueue]:
    """Return the queues of the modules, or those of each group of the named queue."""
    if target.find_app() is not None:
        return [target.load(app) for app in target.apps()]
    return list(target.existing_groups())


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise click.BadParameter("give an address and a port, such as 127.0.0.1:9464", param_hint="--listen")
    return host.strip("[]"), int(port)


def _serve(host: str, port: int, registry: Any) -> None:
    """Answer requests until SIGTERM or SIGINT."""
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        server = MetricsServer(host, port, registry)
    except OSError as error:
        raise ConfigurationError(f"cannot listen at {host}:{port}: {error}") from error
    with server:
        shown, port = server.server_address[:2]
        say(f"metrics at http://{f'[{shown!s}]' if ':' in str(shown) else shown!s}:{port}/metrics")
        threading.Thread(target=server.serve_forever, name="pyxqueue-metrics", daemon=True).start()
        stopped.wait()
        server.shutdown()


class MetricsServer(ThreadingHTTPServer):
    """Answers a limited number of requests at once."""

    daemon_threads = True

    def __init__(self, host: str, port: int, registry: Any) -> None:
        self.registry = registry
        self._free = threading.BoundedSemaphore(_AT_ONCE)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        with suppress(OSError):
            request.sendall(_BUSY)
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _PATIENCE

    def do_GET(self) -> None:
        from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 - an extra

        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404, "the metrics are at /metrics")
            return
        encode, content_type = choose_encoder(self.headers.get("Accept", ""))
        body = encode(cast("MetricsServer", self.server).registry)
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *_: Any) -> None:  # noqa: A002 - its name there
        """Write no line for each request."""
