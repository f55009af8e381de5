"""A small application with tasks; `test_app.py` tests it without a server."""

from pyxqueue import TaskQueue, current_task

queue = TaskQueue("shop")
outbox: list[str] = []


class MailServerDownError(Exception):
    pass


@queue.task(retries=3, backoff=60, jitter=0)
def send(address: str) -> str:
    if current_task().attempt == 1 and address.endswith("@slow.example"):
        raise MailServerDownError(address)
    outbox.append(address)
    return f"sent to {address}"


def sign_up(address: str) -> None:
    """What a web handler would do."""
    send(address)
    send.with_options(delay=86_400)(f"reminder:{address}")
