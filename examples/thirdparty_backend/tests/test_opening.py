"""How the backend is found."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import FilesHarness
from pyxqueue_files import open_backend
from pyxqueue_files.group import SILENT_MS

from pyxqueue import ConfigurationError, TaskQueue
from pyxqueue.errors import BrokerUnavailableError
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing import drain
from pyxqueue.testing.contract import law
from pyxqueue.testing.contract.steps import claimed


def test_a_queue_finds_it_by_its_url(tmp_path: Path) -> None:
    """A URL is enough: the entry point leads to this package."""
    queue = TaskQueue(f"files://{tmp_path}/with%20space", eager=False)

    @queue.task
    def double(number: int) -> int:
        return 2 * number

    handle = double(21)

    assert drain(queue) == 1
    assert handle.get(timeout=0) == 42
    assert (tmp_path / "with space").is_dir()
    queue.close()


def test_a_silent_consumer_is_forgotten(tmp_path: Path) -> None:
    """`maintain` forgets a consumer that was not heard of for an hour, unless it holds something."""
    harness = FilesHarness(tmp_path)
    backend = harness.open(lease=10 * SILENT_MS)
    claimed(backend, law("I1"), consumer="holder")
    backend.claim("silent", 1, 0)
    harness.advance(SILENT_MS + 1)
    backend.claim("new", 1, 0)

    backend.maintain(100)

    assert [consumer.name for consumer in backend.consumers()] == ["holder", "new"]


@pytest.mark.parametrize("url", ["files://host/path", "files:relative", "files:///path?option=1", "files://"])
def test_another_form_of_url_is_refused(url: str) -> None:
    """What would silently mean another folder is an error."""
    with pytest.raises(ConfigurationError, match="use files:///absolute/path"):
        open_backend(url, StoreOptions())


def test_a_folder_that_cannot_be_used_is_unavailable(tmp_path: Path) -> None:
    """What the system says comes with the path, as the error that workers wait out."""
    (tmp_path / "file").touch()

    with pytest.raises(BrokerUnavailableError, match=r"file/_tasks: .*Not a directory"):
        open_backend(f"files://{tmp_path}/file", StoreOptions()).depth()


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "größe \N{SNOWMAN}", "%2e%2e"])
def test_any_name_stays_inside_the_folder(name: str, tmp_path: Path) -> None:
    """Queues, groups and consumers may be called anything."""
    backend = open_backend(f"files://{tmp_path}/here", StoreOptions(stream_key=name, group=name))
    backend.claim(name, 1, 0)

    assert backend.groups() == [name]
    assert [consumer.name for consumer in backend.consumers()] == [name]
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


@pytest.mark.parametrize("task_id", ["../../../x", "", "a\0b", "x" * 300])
def test_what_is_no_id_is_unknown(task_id: str, tmp_path: Path) -> None:
    """Nobody reads a file by asking for a task."""
    backend = open_backend(f"files://{tmp_path}", StoreOptions())

    assert backend.show([task_id]) == [None]
