"""How often a server has called each command."""

from __future__ import annotations

from collections import Counter
from typing import Any


def calls(client: Any) -> Counter[str]:
    """The calls of each command so far, those by scripts too."""
    return Counter({name.removeprefix("cmdstat_"): one["calls"] for name, one in client.info("commandstats").items()})
