"""Shows the URL of a store without its password. Parts that may belong to a password are left out."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31})://", re.ASCII)
_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[\w.-]*)(?::\d{1,5})?"
_SERVER = re.compile(
    rf"(?:[^/?#]*@)?(?P<hosts>{_HOST}(?:,{_HOST})*)(?P<path>/[^?#@]*)?"
    r"(?:\?(?:\w|%[0-9A-Fa-f]{2})+=[^?#@&]*(?:&(?:\w|%[0-9A-Fa-f]{2})+=[^?#@&]*)*)?"
)
"""It does not match a URL whose password contains / ? # or @ unencoded."""
_PORT = re.compile(r":\d{1,5}\Z")
_PATHS = {
    "redis": re.compile(r"(/\d*/?)?"),
    "redis+sentinel": re.compile(r"/(?:[\w.-]|%[0-9A-Fa-f]{2})+(/\d*/?)?"),
    "redis+cluster": re.compile(r"(/0?)?"),
}
"""What the paths of a scheme look like; those of ``rediss`` are the same."""
_FILES = {"sqlite", "unix", "files"}
_LOCAL = re.compile(r"(/[^?]*)(\?.*)?", re.DOTALL)

HOW = (
    "percent-encode special characters in the user, the password and the options: / is %2F, ? is %3F, "
    "# is %23, @ is %40, : is %3A"
)


def scheme_of(url: str) -> str:
    """Return the text before ``://``; empty if it is not a scheme."""
    found = _SCHEME.match(url)
    return found[1] if found else ""


def shown(url: str) -> str:
    """Return scheme, host, port and path, for logs and errors; only the scheme of a URL that cannot be parsed."""
    scheme = scheme_of(url)
    if not scheme:
        return "a text that is not a URL"
    rest = url[len(scheme) + 3 :]
    if scheme in _FILES and (local := _LOCAL.fullmatch(rest)):
        return f"{scheme}://{local[1]}"
    if scheme == "unix":  # the login, then the path of a socket
        login, at, path = rest.rpartition("@")
        path = path.partition("?")[0]
        return f"{scheme}://{path}" if at and path.startswith("/") and not set(login) & set("/?#") else f"{scheme}://"
    found = None if scheme in _FILES else _SERVER.fullmatch(rest)
    if found is None or not _takes(scheme, found["hosts"].split(","), found["path"] or ""):
        return f"{scheme}://"
    return f"{scheme}://{found['hosts']}{found['path'] or ''}"


def is_readable(url: str) -> bool:
    """Return whether a URL can be parsed into its login, its host and the rest."""
    return shown(url) != f"{scheme_of(url)}://" or url.endswith("://")


def _takes(scheme: str, hosts: Sequence[str], path: str) -> bool:
    """Return whether URLs of the scheme can have these hosts, and the path: that of a Redis URL is a database number,
    with Sentinels the name of the master before it."""
    if any(int((_PORT.search(host) or [":0"])[0][1:]) > 65_535 for host in hosts):
        return False
    if len(hosts) > 1 and not scheme.endswith(("+sentinel", "+cluster")):
        return False
    pattern = _PATHS.get(re.sub(r"\Arediss", "redis", scheme))
    return pattern is None or pattern.fullmatch(path) is not None
