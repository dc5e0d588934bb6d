"""The checkpoints that backends need: where each is published, its hash and its licence.

Their names are those of ``Section.weights()`` and of the files in ``<downloads>/checkpoints/``.
Uses only the standard library, because the rules read this registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True)
class Checkpoint:
    """One published checkpoint: a file at an address, or a folder of a hub repository.

    Attributes:
        name: Key in :func:`checkpoints`.
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


#: Weights that a score needs.
_OF_SCORES = (
    Checkpoint(
        "lpips_vgg",
        "VGG-16 of torchvision, the backbone of LPIPS",
        "BSD-3-Clause (torchvision); trained on ImageNet, whose terms allow research",
        553_433_881,
        url="https://download.pytorch.org/models/vgg16-397923af.pth",
        sha256_prefix="397923af",
    ),
)


@cache
def checkpoints() -> Mapping[str, Checkpoint]:
    """Return every checkpoint by name: those of the backends, and those of scores."""
    from gradiseg_core.config import backends

    found = [
        entry
        for stage in backends.STAGES
        for name in backends.names(stage)
        for entry in backends.load(stage, name).checkpoints
    ]
    return MappingProxyType({entry.name: entry for entry in (*found, *_OF_SCORES)})
