"""Which file is taken as a store, which is made, and which is refused untouched."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from pyxqueue.backends.sqlite import open_backend
from pyxqueue.backends.sqlite.driver import Driver, apsw, best, standard
from pyxqueue.backends.sqlite.location import file_system_of, from_url, longest_mount
from pyxqueue.backends.sqlite.versions import Version, parse, wal_is_safe
from pyxqueue.errors import ConfigurationError, StoreFileError
from pyxqueue.model.message import Message
from pyxqueue.protocols import StoreOptions

from .conftest import Open, ask


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# URLs


def test_a_relative_path_starts_where_the_store_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later change of the directory moves no store."""
    # Given
    monkeypatch.chdir(tmp_path)
    with closing(open_backend("sqlite:///a%20b.db", StoreOptions())) as backend:
        # When
        monkeypatch.chdir("/")
        backend.enqueue([Message("a", "kit.job")])
    # Then
    assert (tmp_path / "a b.db").exists()


def test_four_slashes_are_an_absolute_path(file: Path) -> None:
    """The path after the third slash is taken as it is."""
    assert from_url(f"sqlite:///{file}?durability=full").path == str(file)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite://host/queue.db",
        "sqlite:///:memory:",
        "sqlite:///q.db?durability=some",
        "sqlite:///q.db?journal=wal",
    ],
)
def test_a_wrong_url_is_refused(url: str) -> None:
    """What names no file, or asks for something unknown, is said when the store is named."""
    with pytest.raises(ConfigurationError):
        from_url(url)


# Folders and files


def test_the_default_folder_is_private_and_ignored_by_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody named it, so it is made, for its owner only, and never committed by accident."""
    monkeypatch.chdir(tmp_path)
    with closing(open_backend("sqlite:///.pyxqueue/queue.db", StoreOptions())) as backend:
        backend.enqueue([Message("a", "kit.job")])

    file = tmp_path / ".pyxqueue/queue.db"
    assert (mode(file.parent), mode(file)) == (0o700, 0o600)
    assert (file.parent / ".gitignore").read_text() == "*\n"


def test_a_named_file_is_private_too(open_store: Open, file: Path) -> None:
    """Payloads are nobody else's business, wherever the file is."""
    open_store().lease_ms()
    assert mode(file) == 0o600


def test_a_wal_file_is_private_too(open_store: Open, file: Path) -> None:
    """Also one that is built aside, which leaves nothing behind."""
    open_store(wal=True).lease_ms()
    assert mode(file) == 0o600
    assert {path.name for path in file.parent.iterdir()} <= {"queue.db", "queue.db-wal", "queue.db-shm"}


def test_a_missing_folder_is_said(open_store: Open, file: Path) -> None:
    """A folder that somebody named is not made: it may be a typing error."""
    with pytest.raises(ConfigurationError, match="does not exist"):
        open_store(file.parent / "no" / "queue.db").lease_ms()


def test_a_file_where_a_folder_should_be_is_said(open_store: Open, file: Path) -> None:
    """It is not missing, and making it would fail."""
    file.touch()

    with pytest.raises(ConfigurationError, match=r"queue\.db is not a folder"):
        open_store(file / "queue.db").lease_ms()


def test_what_cannot_be_seen_is_not_missing(open_store: Open, tmp_path: Path) -> None:
    """To whoever only looks, too: that there is no queue would be a wrong answer."""
    store = open_store(tmp_path / ("x" * 300))

    with pytest.raises(StoreFileError, match="cannot be reached"):
        store.groups()
    with pytest.raises(StoreFileError, match="cannot be reached"):
        store.lease_ms()


def test_a_link_to_nowhere_is_said(open_store: Open, tmp_path: Path) -> None:
    """As what it is, and not as a file that somebody has deleted."""
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "gone" / "queue.db")

    with pytest.raises(ConfigurationError, match="gone does not exist"):
        open_store(link).lease_ms()


def test_an_empty_file_is_a_new_store(open_store: Open, file: Path) -> None:
    """Whoever made it wanted a store there."""
    file.touch()
    assert open_store().enqueue([Message("a", "kit.job")]) == [True]


# Refused


def test_a_folder_is_no_store(open_store: Open, tmp_path: Path) -> None:
    """A path that is a folder is said to be one."""
    with pytest.raises(StoreFileError, match="is a folder"):
        open_store(tmp_path).lease_ms()


@pytest.mark.parametrize("content", [b"plain text, and quite a lot of it" * 9, b"x", b"SQLite format 3\0 and no more"])
def test_what_is_no_database_stays_as_it_is(open_store: Open, file: Path, content: bytes) -> None:
    """A file of something else is refused, byte for byte the same afterwards."""
    file.write_bytes(content)
    with pytest.raises(StoreFileError, match="not a SQLite database"):
        open_store().lease_ms()
    assert file.read_bytes() == content


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_database_of_another_program_stays_as_it_is(open_store: Open, file: Path, journal: str) -> None:
    """Somebody else's tables are refused before SQLite even opens the file."""
    with closing(sqlite3.connect(file)) as other:
        other.execute(f"PRAGMA journal_mode = {journal}")
        other.execute("CREATE TABLE invoices (amount)")
        other.commit()
    before = file.read_bytes()
    with pytest.raises(StoreFileError, match="another program"):
        open_store(wal=True).lease_ms()
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["queue.db"]


def test_a_newer_schema_is_refused(open_store: Open, file: Path) -> None:
    """A file that a newer release has changed says so."""
    first = open_store()
    first.lease_ms()
    first.close()
    with closing(sqlite3.connect(file)) as other:
        other.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreFileError, match="newer pyxqueue"):
        open_store().lease_ms()


def test_a_network_file_system_is_refused(open_store: Open, file: Path) -> None:
    """Locks that cannot be trusted are not tried."""
    with pytest.raises(StoreFileError, match="network file system"):
        open_store(file_system=lambda _: "nfs4").lease_ms()
    assert not file.exists()


def test_the_mount_that_counts_is_the_innermost() -> None:
    """The longest mount point above a folder wins, of equals the later one; parts of names do not count."""
    lines = [
        "1 0 8:1 / / rw shared:1 - ext4 /dev/sda1 rw",
        "2 1 0:9 / /mnt rw - nfs4 server:/x rw",
        r"3 2 0:9 / /mnt/my\040disk rw - ext4 /dev/sdb1 rw",
        "4 1 0:9 / /data rw - ext4 /dev/sdc1 rw",
        "5 1 0:9 / /data rw - cifs //server/data rw",
    ]
    folders = ["/home", "/mnt", "/mnt/a", "/mnt/my disk/q", "/mntx", "/data/q"]
    assert [longest_mount(lines, folder) for folder in folders] == ["ext4", "nfs4", "nfs4", "ext4", "ext4", "cifs"]


def test_this_machine_says_its_file_system(tmp_path: Path) -> None:
    """What the system tells about mounts is understood."""
    assert file_system_of(str(tmp_path)) or not Path("/proc/self/mountinfo").exists()


def test_an_old_sqlite_is_refused(open_store: Open) -> None:
    """Older than what the statements need is said at once."""
    old = Driver("old", (3, 23, 1), standard().connect)
    with pytest.raises(ConfigurationError, match="too old"):
        open_store(driver=old).lease_ms()


# Journals


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ("3.6.23", False),
        ("3.40.1", False),
        ("3.44.5", False),
        ("3.44.6", True),
        ("3.44.9", True),
        ("3.45.0", False),
        ("3.50.6", False),
        ("3.50.7", True),
        ("3.51.2", False),
        ("3.51.3", True),
        ("3.52.0", True),
        ("4.0", True),
    ],
)
def test_which_versions_may_write_ahead(version: str, safe: bool) -> None:
    """The fixed releases, and those of the two branches that the fix was carried back to."""
    assert wal_is_safe(parse(version)) is safe


def journal_of(path: Path) -> int:
    return path.read_bytes()[18]


@pytest.mark.parametrize(("wal", "number"), [(False, 1), (True, 2)])
def test_the_version_chooses_the_journal_of_a_new_file(open_store: Open, file: Path, wal: bool, number: int) -> None:
    """A fixed SQLite writes ahead, an affected one rolls back."""
    backend = open_store(wal=wal)
    backend.lease_ms()
    journal = backend.about()["journal"]
    backend.close()
    assert (journal_of(file), journal.partition(":")[0]) == (number, "WAL" if wal else "rollback")
    assert ("pyxqueue[sqlite]" in journal) is not wal


def test_a_rollback_file_stays_one(open_store: Open, file: Path) -> None:
    """A fixed SQLite does not change the journal of a file that others may have open."""
    open_store().enqueue([Message("a", "kit.job")])
    again = open_store(wal=True)
    assert again.enqueue([Message("a", "kit.job")]) == [False]
    again.close()
    assert journal_of(file) == 1


def test_an_affected_sqlite_refuses_a_wal_file(open_store: Open, file: Path) -> None:
    """It is not even opened; the error names the ways out."""
    first = open_store(wal=True)
    first.enqueue([Message("a", "kit.job")])
    first.close()
    before = file.read_bytes()
    with pytest.raises(StoreFileError, match=r"WAL-reset bug.*pyxqueue\[sqlite\]"):
        open_store().lease_ms()
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["queue.db"]


def test_two_drivers_in_one_process_are_refused(open_store: Open, file: Path) -> None:
    """Two copies of SQLite in one process end each other's locks."""
    open_store().lease_ms()
    with pytest.raises(ConfigurationError, match="use one driver"):
        open_store(driver=apsw()).lease_ms()


def test_a_trusted_sqlite_is_preferred() -> None:
    """Python's own where it is fixed, else the one of apsw, which is."""
    own = standard()
    assert best().name == ("sqlite3" if wal_is_safe(own.version) else "apsw")


def test_the_size_of_the_log_is_told_apart(open_store: Open, file: Path) -> None:
    """Of a file in WAL mode, the log may be the larger part, and goes away by itself."""
    backend = open_store(wal=True)
    backend.enqueue([Message("a", "kit.job", bytes(1_000_000))])
    about, log = backend.about(), file.with_name("queue.db-wal")
    assert (about["size"], about["journal size"]) == (
        f"{file.stat().st_size:,} bytes",
        f"{log.stat().st_size:,} bytes",
    )
    assert log.stat().st_size > 1_000_000


def test_what_there_is_to_know(open_store: Open, file: Path) -> None:
    """File, engine, journal, durability and size, in that order."""
    about = open_store(durability="full").about()
    assert list(about) == ["file", "engine", "journal", "durability", "size", "journal size"]
    assert about["file"] == str(file)
    assert "power cut" in about["durability"]
    assert about["size"] == f"{file.stat().st_size:,} bytes"


@pytest.mark.parametrize(("durability", "number"), [("normal", 1), ("full", 2)])
def test_durability_is_what_sqlite_is_told(open_store: Open, durability: str, number: int) -> None:
    """Every connection syncs as the store was asked to."""
    backend = open_store(durability=durability)
    assert ask(backend, "PRAGMA synchronous") == [(number,)]


def test_versions_with_more_or_less_parts_are_read() -> None:
    """Vendors append, and old releases had two parts."""
    found: list[Version] = [parse("3.45"), parse("3.51.3.1")]
    assert found == [(3, 45, 0), (3, 51, 3)]
