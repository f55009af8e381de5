"""A web application that starts a task and shows its progress. It is plain WSGI; the calls are the same in a framework.

In one terminal ``python webapp.py worker``, in another ``python webapp.py serve``; then

    curl -X POST 'http://127.0.0.1:8000/reports?rows=200'
    curl http://127.0.0.1:8000/reports/ID

Both find the queue in the file ./.pyxqueue/queue.db; with PYXQUEUE_URL=redis://HOST they may be on two machines.
The folder compose has the same as containers.
"""

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, make_server

from pyxqueue import TaskError, TaskQueue, UnknownTaskError, track

queue = TaskQueue("webapp")


@queue.task(timeout=60)
def report(rows: int) -> str:
    for _ in track(range(rows)):
        time.sleep(0.001)
    return f"{rows} rows"


def start(query: dict[str, list[str]]) -> tuple[str, dict[str, Any]]:
    """The request ends at once. The id is all that the client needs to ask later."""
    handle = report(int(query["rows"][0]))
    return "202 Accepted", {"id": handle.task_id}


def look(task_id: str) -> tuple[str, dict[str, Any]]:
    """Any process can look at any task by its id."""
    handle = queue.result(task_id)
    try:
        if not handle.done:
            progress = handle.progress
            return "200 OK", {"state": handle.state.name, "done": progress.done if progress else 0}
        return "200 OK", {"state": "SUCCESS", "result": handle.get()}
    except UnknownTaskError:
        return "404 Not Found", {"error": "no such report"}
    except TaskError as error:
        return "200 OK", {"state": "FAILURE", "error": error.error}


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    match environ["REQUEST_METHOD"], environ["PATH_INFO"].split("/"):
        case "POST", ["", "reports"]:
            status, answer = start(parse_qs(environ["QUERY_STRING"]))
        case "GET", ["", "reports", task_id]:
            status, answer = look(task_id)
        case _:
            status, answer = "404 Not Found", {"error": "no such page"}
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
        """Print nothing for each request."""


def try_it() -> None:
    """Serve in a thread, and do what a browser would do."""
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        site = f"http://127.0.0.1:{server.server_port}/reports"
        started = json.load(urllib.request.urlopen(f"{site}?rows=200", data=b""))  # noqa: S310 - a URL of our own
        state: dict[str, Any] = {"state": "PENDING"}
        while "result" not in state and state["state"] != "FAILURE":
            state = json.load(urllib.request.urlopen(f"{site}/{started['id']}"))  # noqa: S310
            time.sleep(0.05)
        print(state)
        server.shutdown()


if __name__ == "__main__":
    import sys

    match sys.argv[1:]:
        case ["worker"]:
            queue.run()
        case ["serve", *address]:
            with make_server(address[0] if address else "127.0.0.1", 8000, app) as server:
                server.serve_forever()
        case ["test"]:
            try_it()
        case _:
            sys.exit("Usage: python webapp.py (worker | serve [ADDRESS] | test)")
