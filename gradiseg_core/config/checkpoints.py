"""What is known of a published checkpoint: where it is, its hash and its licence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Checkpoint:
    """One published checkpoint: a file at an address, or a folder of a hub repository.

    Attributes:
        name: Key in :func:`.weights.checkpoints`.
        description: What it is, in one line.
        licence: Licence of the weights.
        size: Bytes, as published or as last seen; only for the disk check and the documentation.
        kind: ``file``, or ``folder`` in transformers' format.
        url: Address of a file.
        sha256: Published hash of a file; None if nobody publishes one. Then the hash of the first
            download goes into the lock file.
        sha256_prefix: First hex digits of the hash, if only these are published.
        repo: Hub repository (``owner/name``) of a folder.
        revision: Commit of that repository.
        patterns: The files that are needed; never a pickle.
    """

    name: str
    description: str
    licence: str
    size: int | None
    kind: Literal["file", "folder"] = "file"
    url: str = ""
    sha256: str | None = None
    sha256_prefix: str = ""
    repo: str = ""
    revision: str = ""
    patterns: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        """Name in the folder of checkpoints: ``<name>.pth`` of a file, ``<name>`` of a folder."""
        return f"{self.name}.pth" if self.kind == "file" else self.name

    @property
    def page(self) -> str:
        """Address that a person can open."""
        return self.url or f"https://huggingface.co/{self.repo}/tree/{self.revision}"

    def path(self, downloads: Path) -> Path:
        """Where it lies below the folder of downloads."""
        return Path(downloads) / "checkpoints" / self.file_name
