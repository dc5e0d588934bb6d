"""The lock file: hashes of first downloads, which every later download must match.

    {"sam": {"source": "https://...", "sha256": "...", "bytes": 123}, ...}

Hashes that a publisher gives are in the registry, and are checked as well.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from gradiseg_core.errors import DownloadError


@dataclass(frozen=True)
class Entry:
    """What was fetched first under a name.

    Attributes:
        source: Address, or hub repository.
        revision: Commit of the hub repository; empty for an address.
        sha256: Of the file, or of the folder (:func:`.hashes.tree_sha256`).
        bytes: Size of all of it.
    """

    source: str
    revision: str
    sha256: str
    bytes: int


class DownloadLock:
    """The lock file at ``path``; it is made with the first entry."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def get(self, name: str) -> Entry | None:
        """Return the entry of a name, or None.

        Raises:
            DownloadError: If the file is not a lock file.
        """
        found = self._read().get(name)
        try:
            return None if found is None else Entry(**found)
        except TypeError as error:
            raise self._damaged(f"the entry of {name} has other keys") from error

    def record(self, name: str, entry: Entry) -> None:
        """Add an entry that is not there yet; safe against other processes that do the same."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(f".{self.path.name}.lock")):
            entries = self._read()
            if name in entries:
                return
            entries[name] = asdict(entry)
            partial = self.path.with_name(f".{self.path.name}.partial")
            partial.write_text(json.dumps(dict(sorted(entries.items())), indent=2) + "\n")
            os.replace(partial, self.path)

    def _read(self) -> dict[str, dict]:
        try:
            entries = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise self._damaged(str(error)) from error
        if not isinstance(entries, dict):
            raise self._damaged("it is not a mapping")
        return entries

    def _damaged(self, why: str) -> DownloadError:
        return DownloadError(
            f"{self.path} is not a lock file of downloads ({why}); restore it from version "
            "control, or remove it to record the hashes anew"
        )
