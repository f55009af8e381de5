"""The `FairLines` protocol on Redis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ...model.fairness import TenantInfo
from .registration import Registration

_SCAN = 1_000


class RedisFairLines:
    """The `FairLines` protocol."""

    def __init__(self, registration: Registration) -> None:
        self._registration = registration

    def tenants(self, count: int) -> Sequence[TenantInfo]:
        session, keys = self._registration.session, self._registration.keys
        found = session.guard(lambda: dict(session.client.hscan_iter(keys.gates, match="flow:*:*:*", count=_SCAN)))
        waiting = Counter[str]()
        for field, value in found.items():
            tenant = field.decode(errors="replace").split(":", 3)[3]
            number = value.partition(b" ")[2]
            waiting[tenant] += int(number) if number.isdigit() and len(number) <= 16 else 0
        return [TenantInfo(tenant, number) for tenant, number in sorted(waiting.items())[:count]]
