"""Every page in a real browser: hostile text runs nothing, nothing leaves the dashboard, and everybody can use it."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it has no types
from playwright.sync_api import expect
from starlette.applications import Starlette
from starlette.routing import Mount

from pyxqueue import TaskQueue
from pyxqueue.dashboard import Access, Dashboard

from .conftest import Visit, served
from .filled import PATHS, WORKER

pytestmark = pytest.mark.browser


def test_hostile_text_is_only_shown(visit: Visit) -> None:
    """In every field of every page: no script runs, the policy is not broken, and nothing leaves the dashboard."""
    visitor, found = visit(), {}
    for name, path in PATHS.items():
        page = visitor.see(path)
        broken = page.locator("main script, main img, main svg[onload]").count() + abs(page.locator("h1").count() - 1)
        if page.evaluate("window.hacked") is not None or "49" in page.title() or broken:
            found[name] = page.title()
    visitor.forgive("404")  # of the page of a task that is not there
    assert found == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it(visit: Visit, scheme: str) -> None:
    """Axe finds nothing on any page; in the dark theme, only the contrast can differ."""
    visitor, axe = visit(color_scheme=scheme), Axe()
    options = {"runOnly": ["color-contrast"]} if scheme == "dark" else None
    found = {}
    for name, path in PATHS.items():
        visitor.page.context.unroute("**/*")  # it looks at its own script
        page = visitor.see(path)
        result = axe.run(page, options=options)
        if result.violations_count:
            found[name] = [
                (one["id"], [node["html"][:160] for node in one["nodes"][:3]]) for one in result.response["violations"]
            ]
    visitor.faults.clear()  # of scripts that were put in for the look
    assert found == {}


def test_no_page_is_wider_than_a_phone(visit: Visit) -> None:
    """What is wider scrolls by itself."""
    visitor = visit(viewport={"width": 390, "height": 844})
    wide = {}
    for name, path in PATHS.items():
        page = visitor.see(path)
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if over > 0:
            wide[name] = over
    visitor.forgive("404")
    assert wide == {}


def test_without_scripts(visit: Visit) -> None:
    """Links and forms do everything: filter, turn the page, look at a task, cancel it."""
    visitor = visit(java_script_enabled=False)
    page = visitor.see("/q/shop/cg/ready?limit=5")
    page.get_by_role("link", name="Next page").click()
    assert page.locator("tbody tr").count() == 5
    page.get_by_label("Text").fill("ready42")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("cell", name=re.compile("ready42")).get_by_role("link").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".notice")).to_contain_text("cancelled")
    expect(page.locator(".state").first).to_have_text("Cancelled")


def test_by_keyboard(visit: Visit) -> None:
    """The way to the content, the field for an id, and the pages."""
    visitor = visit()
    page = visitor.see("/q/shop/cg/ready?limit=5")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("n")
    page.wait_for_url("**after=**")
    page.keyboard.press("/")
    page.keyboard.type("ready07")
    page.keyboard.press("Enter")
    page.wait_for_url("**/t/shop/cg/ready07")
    expect(page.locator(".sub .id")).to_have_text("ready07")


def test_chosen_rows(visit: Visit, queue: TaskQueue) -> None:
    """All rows of a page are chosen at once, and only these are changed."""
    visitor, before = visit(), queue.admin.info().depth
    page = visitor.see("/q/shop/cg/ready?text=ready5&limit=3")
    page.get_by_label("Choose all on this page").check()
    page.get_by_role("button", name="Delete chosen").click()
    expect(page.locator(".notice")).to_contain_text("3")
    after = queue.admin.info().depth
    assert before is not None
    assert after is not None
    assert before.ready - after.ready == 3


def test_what_cannot_be_undone_asks(visit: Visit) -> None:
    """The button that deletes is behind another one; only one asks at a time."""
    visitor = visit()
    page = visitor.see("/q/shop/cg")
    page.get_by_text("Delete the history…").click()
    expect(page.get_by_role("button", name="Delete the history for good")).to_be_visible()
    page.get_by_text("Delete all failed tasks…").click()
    expect(page.get_by_role("button", name="Delete the history for good")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Delete all failed tasks for good")).to_be_hidden()


def test_all_that_fit(visit: Visit, queue: TaskQueue) -> None:
    """What is confirmed is done to all of them, and to no other."""
    visitor = visit()
    page = visitor.see("/q/shop/cg/ready?text=ready3")
    page.get_by_text("Cancel all that fit…").click()
    page.get_by_role("button", name="Cancel at most 1,000 now").click()
    expect(page.locator(".notice")).to_contain_text("10")
    page = visitor.see("/q/shop/cg/failures")
    page.get_by_role("row", name=re.compile("KeyError")).get_by_role("button", name="Retry", exact=True).click()
    expect(page.locator(".notice")).to_contain_text("2")
    assert [one.info.id for one in queue.admin.list("failed").tasks] == ["failed0"]


def test_numbers_change_by_themselves(visit: Visit, queue: TaskQueue) -> None:
    """Those on open pages; the rows of a list stay under the cursor."""
    visitor = visit()
    page = visitor.see("/")
    before = page.locator('[data-live="shop/cg/ready"]').inner_text()
    queue.task(name="shop.more")(lambda: None)()
    expect(page.locator('[data-live="shop/cg/ready"]')).not_to_have_text(before)


def test_a_page_follows_the_state_of_its_task(visit: Visit, queue: TaskQueue) -> None:
    """When it is claimed, nothing explains any more why it does not run."""
    backend = queue.stores.backend
    queue.task(name="shop.turn")(lambda: None).with_options(task_id="turn", priority=100)()
    visitor = visit()
    page = visitor.see("/t/shop/cg/turn")
    expect(page.get_by_role("heading", name="Why it does not run yet")).to_be_visible()

    (delivery,) = backend.claim(WORKER, 1, 0)

    assert delivery.message.id == "turn"
    expect(page.locator(".state.runs")).to_have_text("Running")
    expect(page.get_by_role("heading", name="Why it does not run yet")).to_have_count(0)


def test_below_a_path(visit: Visit, queue: TaskQueue) -> None:
    """Mounted in an application, twice, every link and file stays below its path."""
    one, other = Dashboard(queue, access=Access.ALL), Dashboard(queue, access=Access.READ, title="Other")
    with served(Starlette(routes=[Mount("/a/b", one), Mount("/other", other)])) as address:
        visitor = visit(address)
        page = visitor.see("/a/b/")
        page.get_by_role("link", name="shop").first.click()
        page.get_by_role("link", name=re.compile("Failed")).first.click()
        page.wait_for_url("**/a/b/q/shop/cg/failed")
        assert page.locator("tbody tr").count() > 0
        page = visitor.see("/other/q/shop/cg/failed")
        assert page.get_by_role("button", name=re.compile("Delete|Retry")).count() == 0
        assert page.title().endswith("Other")
