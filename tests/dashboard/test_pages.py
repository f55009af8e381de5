"""The pages as pure functions: what they say of values, without a store and without a request."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

import pytest

from pyxqueue.dashboard import api, pages
from pyxqueue.dashboard.site import Site
from pyxqueue.dashboard.values import Filters, GroupRow, Overview, StatisticsView, TaskList, TaskRow
from pyxqueue.model.message import Depth, TaskStatus
from pyxqueue.model.places import Place
from pyxqueue.model.statistics import Slice, Statistics, TaskCounts


def site(**changes: object) -> Site:
    facts: dict[str, object] = {
        "root": "", "route": "overview", "here": "/", "title": "Shop", "badge": "", "links": (), "refresh": 2,
        "events": "", "may": frozenset({"retry", "delete", "cancel"}), "user": "", "queues": (), "notice": "",
        "version": "1", "asset": str,
    }  # fmt: skip
    return Site(**{**facts, **changes})  # type: ignore[arg-type]  # any of them may be changed


def row(
    ready: int = 0, failed: int = 0, oldest_ms: int = 0, workers: int = 1, busy: int = 0, *, paused: bool = False,
    silent: Mapping[str, int] | None = None, crashed: Mapping[str, int] | None = None,
    lost: Mapping[str, int] | None = None,
) -> GroupRow:  # fmt: skip
    counts = [TaskCounts(name, {"crashed": times}) for name, times in (crashed or {}).items()]
    counts += [TaskCounts(name, lost=number) for name, number in (lost or {}).items()]
    statistics = Statistics(60_000, [Slice(0, 60_000, counts)], [])
    depth = Depth(ready, 0, 0, failed, 0, oldest_ms=oldest_ms)
    return GroupRow("shop", "cg", depth, paused, (), workers, busy, statistics, silent=silent or {})


ALARMS = {
    "nobody works": (row(ready=2_160, workers=0), "2,160 tasks wait, and no worker is running"),
    "it is paused": (row(ready=1, paused=True), "paused, and 1 wait"),
    "all are busy": (
        row(ready=9, oldest_ms=90_000, workers=2, busy=2),
        "every worker is busy, and a task has waited for 1.5 min",
    ),
    "a host is dead": (row(silent={"web2": 3}), "web2 is silent and holds 3 tasks"),
    "many hosts are dead": (
        row(silent=dict.fromkeys("abcde", 1)),
        "\n".join([*(f"{host} is silent and holds 1 task" for host in "abc"), "2 more hosts silent"]),
    ),
    "a task kills its process": (
        row(crashed={"shop.mail": 0, "shop.rare": 1, "shop.bad": 4}),
        "the process of shop.bad died 4 times within an hour\nthe process of shop.rare died once within an hour",
    ),
    "a failover has lost tasks": (
        row(lost={"shop.rare": 1, "shop.mail": 1_234, "shop.fine": 0}),
        "a failover has lost 1,234 shop.mail within an hour\na failover has lost 1 shop.rare within an hour",
    ),
    "nothing waits, and nobody works": (row(workers=0), ""),
    "all are busy, but nothing waits for long": (row(ready=9, oldest_ms=5_000, workers=2, busy=2), ""),
    "one has room": (row(ready=9, oldest_ms=90_000, workers=2, busy=1), ""),
    "tasks have failed": (row(failed=31), ""),
}


@pytest.mark.parametrize("case", ALARMS)
def test_what_is_wrong_is_one_line(case: str) -> None:
    """It says what needs somebody, and is empty if nothing does."""
    found, text = ALARMS[case]
    assert found.depth is not None
    assert pages.alarm(found, found.depth) == text


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row(), row()], "all is well"),
        ([], "all is well"),
        ([row(), row(failed=1)], ""),
        ([row(), row(silent={"web2": 1})], "1 needs attention"),
        ([row(ready=1, workers=0), GroupRow("shop", "cg", None, error="cannot be read")], "2 need attention"),
    ],
)
def test_the_verdict(rows: list[GroupRow], words: str) -> None:
    """All is well only if nothing needs somebody, and no task has failed."""
    assert pages.verdict(rows) == words


def test_programs_see_silent_hosts() -> None:
    """As numbers: the host, and how many tasks its workers hold."""
    assert api.group(row(silent={"web2": 3}))["silent"] == {"web2": 3}


def test_an_open_page_hears_of_an_alarm() -> None:
    """The verdict and the alarm of a group change like its numbers."""
    texts = pages.live_overview(Overview(0, [row(ready=2, workers=0)]))

    assert texts["verdict"] == "1 needs attention"
    assert texts["shop/cg/alarm"] == "2 tasks wait, and no worker is running"
    assert texts["shop/cg/ready"] == "2"


def listed(filters: Filters, following: str) -> Mapping[str, object]:
    view = TaskList(0, row(), Place.FAILED, (), filters, following, 0)
    return pages.tasks(site(route="tasks"), view).context


def query(url: object) -> dict[str, list[str]]:
    assert isinstance(url, str)
    return parse_qs(urlsplit(url).query)


def test_one_can_turn_back() -> None:
    """Each page leads to the next and to the one before, with the filters kept; the first one has none before."""
    filters, seen = Filters(name="shop.*", limit="5"), list[str]()
    for following in ("b", "c", "d"):
        context = listed(filters, following)
        seen.append(filters.after)
        found = query(context["older"])
        assert (found["name"], found["limit"], found["after"]) == (["shop.*"], ["5"], [following])
        filters = Filters(name="shop.*", limit="5", after=following, was=found.get("was", [""])[0])

    back = list[str]()
    while url := listed(filters, "")["newer"]:
        found = query(url)
        assert found["name"] == ["shop.*"]
        back.append(found.get("after", [""])[0])
        filters = Filters(name="shop.*", after=back[-1], was=found.get("was", [""])[0])
    assert back == seen[::-1]


def test_no_page_follows_the_last_task() -> None:
    """Although the store says only on an empty page that it is the last: the group knows how many there are."""
    task = TaskRow(
        "t", "shop.pay", TaskStatus.FAILURE, "", 0, 1, 0, 0, "", "", 1, 0, 1, 0, 1, 0, "", "", "", None, "", ""
    )

    def older(rows: int, filters: Filters) -> object:
        view = TaskList(0, row(failed=2), Place.FAILED, [task] * rows, filters, "b", 0)
        return pages.tasks(site(route="tasks"), view).context["older"]

    assert older(2, Filters()) == ""
    assert older(1, Filters())
    assert older(2, Filters(name="shop.*"))
    assert older(2, Filters(after="a"))


def test_the_way_back_is_bounded() -> None:
    """Of many pages, the URL keeps the last twenty; behind them is the first page."""
    filters = Filters(after="c100", was="\n".join(f"c{number}" for number in range(100)))

    was = query(listed(filters, "c101")["older"])["was"][0].split("\n")

    assert was == [f"c{number}" for number in range(81, 101)]


def test_a_chart_has_a_table() -> None:
    """The newest time first, without those in which nothing ended."""
    counts = [TaskCounts("a", {"success": 3, "failure": 1, "crashed": 5})]
    slices = [Slice(0, 60_000, counts), Slice(60_000, 60_000, []), Slice(120_000, 60_000, counts)]
    view = StatisticsView(0, row(), "1h", Statistics(180_000, slices, []))

    assert pages.statistics(site(), view).context["by_time"] == [(120_000, 4, 1), (0, 4, 1)]
