"""A store of several servers, shared by the tests that only use it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyxqueue.testing.servers import Server, ServerKind, available
from tests.conftest import kinds_to_test

from .security import tls_args
from .servers import Nodes, Watched, cluster, free_port, watched

KIND = kinds_to_test()[0]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A cluster of three masters."""
    with cluster(KIND) as nodes:
        yield nodes


@pytest.fixture
def pair() -> Iterator[Watched]:
    """A master, its replica and a Sentinel."""
    with watched(KIND) as pair:
        yield pair


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate of ours for this machine, one for another, and another authority."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the program openssl, to make certificates")
    folder = tmp_path_factory.mktemp("tls")

    def run(*args: str) -> None:
        subprocess.run([openssl, *args], cwd=folder, check=True, capture_output=True)

    for authority in ("ca", "stranger"):
        run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={authority}",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", f"{authority}.key", "-out", f"{authority}.pem")  # fmt: skip
    for name, alternatives in {"here": "DNS:localhost,IP:127.0.0.1,IP:::1", "other": "DNS:elsewhere"}.items():
        lines = f"subjectAltName={alternatives}", "authorityKeyIdentifier=keyid", "subjectKeyIdentifier=hash"
        (folder / "names").write_text("\n".join(lines))  # all that Python 3.13 wants, which is strict
        run("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", "request")
        run("x509", "-req", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "names", "-out", f"{name}.pem")  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def tls_kind(certificates: Path) -> ServerKind:
    """A server that was built with TLS: those out of wheels are not."""
    for kind in available():
        try:
            with Server(kind, args=tls_args(certificates, "here", free_port())):
                return kind
        except RuntimeError:
            continue
    pytest.skip("no server here has TLS")
