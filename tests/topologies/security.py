"""Servers with TLS, and users with few rights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pyxqueue.testing.servers import Server, ServerKind
from tests.support.trees import ROOT

from .servers import MASTER, ask, cluster, free_port


def tls_args(certificates: Path, name: str, port: int) -> Sequence[str]:
    return (
        *("--tls-port", str(port), "--tls-auth-clients", "no", "--tls-replication", "yes", "--tls-cluster", "yes"),
        *("--tls-cert-file", str(certificates / f"{name}.pem"), "--tls-key-file", str(certificates / f"{name}.key")),
        *("--tls-ca-cert-file", str(certificates / "ca.pem")),
    )


@contextmanager
def tls_store(kind: ServerKind, topology: str, certificates: Path, name: str) -> Iterator[str]:
    """Start a store with this certificate; yields its URL, without options."""
    port, other = free_port(), free_port()
    with ExitStack() as stack:
        if topology == "cluster":
            nodes = stack.enter_context(cluster(kind, tls=lambda port: tls_args(certificates, name, port)))
            yield f"rediss+cluster://{','.join(f'127.0.0.1:{one}' for one in nodes.tls_ports)}"
            return
        stack.enter_context(Server(kind, args=tls_args(certificates, name, port)))
        if topology == "plain":
            yield f"rediss://127.0.0.1:{port}"
            return
        sentinel = stack.enter_context(Server(kind, args=("--sentinel", *tls_args(certificates, name, other))))
        ask(sentinel, "SENTINEL", "MONITOR", MASTER, "127.0.0.1", port, 1)
        yield f"rediss+sentinel://127.0.0.1:{other}/{MASTER}"


def published(page: str, user: str) -> list[str]:
    """The rights that the documentation gives to a user, as words of ACL SETUSER."""
    text = (ROOT / "docs" / "how-to" / page).read_text()
    found = re.search(rf"^ACL SETUSER {user} (.*)$", text, re.MULTILINE)
    assert found, f"{page} has no rights of {user}"
    return found[1].replace(">password", ">s@cret").split()


def allow(server: Server, page: str, user: str, queue: str = "shop") -> None:
    ask(server, "ACL", "SETUSER", user, *(word.replace("shop", queue) for word in published(page, user)))


def refused(server: Server) -> list[tuple[str, str]]:
    """What its ACL has refused, and why."""
    entries = [dict(zip(entry[::2], entry[1::2], strict=True)) for entry in ask(server, "ACL", "LOG")]
    return [(entry["reason"], entry["object"]) for entry in entries]
