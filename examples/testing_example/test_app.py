"""``pytest`` in this folder: tasks run in the test's own process, on a clock that only the test moves."""

import app
import pytest

from pyxqueue import EagerSession


@pytest.fixture(autouse=True)
def empty_outbox() -> None:
    app.outbox.clear()


@pytest.mark.usefixtures("pyxqueue_eager")
def test_the_mail_goes_out_at_once() -> None:
    app.sign_up("ada@example.org")

    assert app.outbox == ["ada@example.org"]


def test_the_reminder_follows_a_day_later(pyxqueue_eager: EagerSession) -> None:
    app.sign_up("ada@example.org")

    pyxqueue_eager.advance(86_399)
    assert len(app.outbox) == 1
    pyxqueue_eager.advance(1)
    assert app.outbox[-1] == "reminder:ada@example.org"


def test_a_server_that_is_down_is_tried_again_after_a_minute(pyxqueue_eager: EagerSession) -> None:
    handle = app.send("bob@slow.example")

    assert handle.state.name == "RETRY"
    pyxqueue_eager.advance(60)
    assert handle.get() == "sent to bob@slow.example"
