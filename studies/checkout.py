"""The commit that something was measured at."""

from __future__ import annotations

import subprocess
from pathlib import Path


def commit() -> str:
    """Return the short hash of the checkout, with a plus where it has changes; or "unknown"."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    folder = Path(__file__).parent
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # no git, or an unpacked archive
        return "unknown"
    return done.stdout.strip()
