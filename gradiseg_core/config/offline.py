"""The message about a missing download if the network is not used."""

from __future__ import annotations

from pathlib import Path


def missing_offline(name: str, page: str, target: Path) -> str:
    """Return what to do about a missing download.

    Args:
        name: What is missing.
        page: Where it is published.
        target: Where to put it.
    """
    return (
        f"{name} is not in {target}, and `downloads.offline` is true; fetch it from {page} on "
        "another machine and put it there, or set `downloads.offline: false`"
    )
