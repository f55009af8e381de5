"""The name of this host, for people."""

from __future__ import annotations

import os
import socket

from .printable import printable

HOST = "PYXQUEUE_HOST"
"""The environment variable with the name of the host, where its own says nothing, as in a container."""
MAX_HOST = 100
"""The most characters of it. A host that is found in an attempt has fewer (`pyxqueue.model.past`)."""


def host_name() -> str:
    """Return the name of this host, as one printable word of limited length."""
    given = os.environ.get(HOST, "").strip() or socket.gethostname() or "unknown"
    return printable("-".join(given[:MAX_HOST].split()))[:MAX_HOST]
