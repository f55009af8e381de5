"""A store that an older release has left: refused with words, migrated or moved, and nothing in it is lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from redis import Redis

from pyxqueue.backends.sqlite.schema import VERSION
from pyxqueue.cli import main
from pyxqueue.errors import StoreLayoutError
from pyxqueue.model.message import Message, TaskInfo, Unreadable
from pyxqueue.protocols import Backend, StoreOptions
from pyxqueue.stores import find_store
from pyxqueue.testing.servers import Server, ServerKind

from .conftest import kinds_to_test

DATA = Path(__file__).parent / "data"
GROUPS = ("cg", "mail")


def said(layout: str, kind: str, group: str) -> dict[str, Any]:
    """What the old release showed of each task of a group."""
    told: dict[str, Any] = json.loads((DATA / layout / f"{kind}.json").read_text())[group]
    return told


def says(info: TaskInfo) -> dict[str, Any]:
    """What this release shows of a task, in the same form."""
    told: dict[str, Any] = {
        "status": info.status.name,
        "worker": info.worker,
        "reason": info.reason,
        "progress": info.progress and [info.progress.done, info.progress.total, info.progress.message],
    }
    message, record = info.message, info.record
    if isinstance(message, Message):
        told["message"] = {
            **{name: getattr(message, name) for name in ("name", "serializer", "attempt", "crashes", "redelivered")},
            **{name: getattr(message, name) for name in ("deferrals", "enqueued_ms", "due_ms", "expires_ms")},
            **{name: getattr(message, name) for name in ("priority", "parent")},
            "body": message.body.decode(),
            "headers": dict(message.headers),
        }
    elif isinstance(message, Unreadable):
        told["fields"] = {name.decode("latin1"): value.decode("latin1") for name, value in message.fields.items()}
    if record is not None:
        told["record"] = {
            "value": record.value.decode(),
            "error": record.error and [record.error.type, record.error.message, record.error.traceback],
            **{name: getattr(record, name) for name in ("attempt", "worker", "ended_ms", "ttl_ms")},
        }
    return told


def shown(backend: Backend) -> dict[str, Any]:
    page, cursor = backend.tasks(None, "", 100)
    assert cursor == ""
    return {info.id: says(info) for info in backend.show([info.id for info in page]) if info is not None}


def moved(layout: str, group: str) -> dict[str, Any]:
    """What a move must carry: all tasks that wait or failed. A task in flight is ready again, without its progress; a
    delayed one is still delayed. The target stamps its own times."""
    found = {}
    for task_id, told in said(layout, "redis", group).items():
        if told["status"] in ("SUCCESS", "CANCELLED"):
            continue
        if told["status"] == "STARTED":
            told |= {"status": "PENDING", "worker": "", "progress": None}
        found[task_id] = without_stamps(told)
    if (layout, group) == ("layout1", "cg"):  # another program's; the old release did not list it
        fields = {"v": "9", "id": "newer", "name": "shop.pay", "odd": "\xfe"}
        found["newer"] = {"status": "PENDING", "worker": "", "reason": "", "progress": None, "fields": fields}
    return found


def without_stamps(told: Mapping[str, Any]) -> dict[str, Any]:
    told = json.loads(json.dumps(told))
    told.get("message", {}).pop("enqueued_ms", None)
    told.get("record", {}).pop("ended_ms", None)
    return dict(told)


@pytest.mark.parametrize("group", GROUPS)
def test_a_sqlite_file_is_migrated(tmp_path: Path, group: str) -> None:
    """Opening an old file migrates it; every task is shown as before."""
    file = tmp_path / "queue.db"
    shutil.copy(DATA / "layout1" / "sqlite.db", file)
    file.chmod(0o600)

    with closing(find_store(f"sqlite:///{file}", StoreOptions("shop", group)).open()) as backend:
        assert shown(backend) == said("layout1", "sqlite", group)
    with closing(find_store(f"sqlite:///{file}", StoreOptions("shop", group)).open()) as again:
        assert shown(again) == said("layout1", "sqlite", group)
    assert int.from_bytes(file.read_bytes()[60:64], "big") == VERSION


def load(server: Server, layout: str) -> None:
    """Make the server start again with the dump."""
    with Redis.from_url(server.url) as client:
        folder, name = client.config_get("dir")["dir"], client.config_get("dbfilename")["dbfilename"]
    server.kill()
    shutil.copy(DATA / layout / "redis.dump", Path(folder) / name)
    server.restart()


@pytest.fixture(scope="module", params=kinds_to_test())
def old_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that can load a dump."""
    kind: ServerKind = request.param
    with Server(kind) as server:
        yield server


LAYOUTS = pytest.mark.parametrize("layout", ["layout1", "layout2"])


@LAYOUTS
def test_a_redis_queue_is_refused_with_words(old_server: Server, layout: str) -> None:
    """Whatever the first operation is, it is refused, and the old queue stays as it is."""
    load(old_server, layout)
    with (
        Redis.from_url(old_server.url) as client,
        closing(find_store(old_server.url, StoreOptions("shop")).open()) as backend,
    ):
        before = {key: client.dump(key) for key in client.scan_iter()}
        for ask in (
            lambda: backend.enqueue([Message("new", "shop.pay")]),
            lambda: backend.claim("one", 1, 0),
            lambda: backend.wait(["success"], 0),
            lambda: backend.show(["success"]),
            backend.depth,
            backend.groups,
        ):
            with pytest.raises(StoreLayoutError, match=rf"'shop' is kept in layout {layout[-1]}, .*pyxqueue move"):
                ask()
        assert {key: client.dump(key) for key in client.scan_iter()} == before


def test_a_redis_queue_of_a_newer_release_is_refused(redis_url: str, stream_key: str) -> None:
    with (
        Redis.from_url(redis_url) as client,
        closing(find_store(redis_url, StoreOptions(stream_key)).open()) as backend,
    ):
        client.hset(f"{{{stream_key}}}:meta", "layout", "99")
        with pytest.raises(StoreLayoutError, match=r"layout 99, of a newer pyxqueue.*upgrade"):
            backend.enqueue([Message("new", "shop.pay")])


@LAYOUTS
@pytest.mark.parametrize("target", ["redis", "sqlite"])
def test_move_carries_a_redis_queue_over(old_server: Server, layout: str, target: str, tmp_path: Path) -> None:
    """`move` carries all that waits or failed, in every group, junk byte for byte; ended tasks stay behind."""
    url = f"{old_server.url}/1" if target == "redis" else f"sqlite:///{tmp_path}/queue.db"
    load(old_server, layout)
    result = CliRunner().invoke(main, ["move", old_server.url, url, "--queue", "shop"])

    assert result.exit_code == 0, result.output
    for group in GROUPS:
        with closing(find_store(url, StoreOptions("shop", group)).open()) as backend:
            assert {task_id: without_stamps(told) for task_id, told in shown(backend).items()} == moved(layout, group)
    with Redis.from_url(old_server.url) as client:
        assert client.xlen("shop") == client.xlen("{shop}:mail:stream") == client.xlen("{shop}:cg:parked") == 0
        left = {key.rpartition(b":")[2] for key in client.scan_iter("{shop}:*:task:*")}
        assert left == {"layout1": {b"cancelled", b"success"}, "layout2": {b"paid", b"short", b"stopped"}}[layout]
