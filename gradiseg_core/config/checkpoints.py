"""The checkpoints that backends need: where each is published, its hash and its licence.

Names are what ``Section.weights()`` returns and what the files are called in
``<downloads>/checkpoints/``. Standard library only: the rules read this registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True)
class Checkpoint:
    """One published checkpoint: a file at an address, or a folder of a hub repository.

    Attributes:
        name: Key in :data:`CHECKPOINTS`.
        description: What it is, in one line.
        licence: Licence of the weights.
        size: Bytes, as published or as last seen; for the disk check and for the documentation
            only, since the hash decides what is right.
        kind: ``file``, or ``folder`` in transformers' format.
        url: Address of a file.
        sha256: Published hash of a file; None where nobody publishes one, so that the hash of
            the first download goes into the lock file.
        sha256_prefix: First hex digits of the hash, where only these are published.
        repo: Hub repository (``owner/name``) of a folder.
        revision: Commit of that repository.
        patterns: Files of the repository that are needed; never a pickle.
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


_SAM = "https://dl.fbaipublicfiles.com/segment_anything/"
_TRANSFORMERS_FILES = (
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)

_ALL = (
    Checkpoint(
        "sam_vit_h",
        "Segment Anything, ViT-H: the paper's segmenter",
        "Apache-2.0",
        2_564_550_879,
        url=_SAM + "sam_vit_h_4b8939.pth",
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
    Checkpoint(
        "sam_vit_l",
        "Segment Anything, ViT-L",
        "Apache-2.0",
        1_249_524_607,
        url=_SAM + "sam_vit_l_0b3195.pth",
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    Checkpoint(
        "sam_vit_b",
        "Segment Anything, ViT-B: the smallest",
        "Apache-2.0",
        375_042_383,
        url=_SAM + "sam_vit_b_01ec64.pth",
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    Checkpoint(
        "deva",
        "DEVA's propagation network, which tracks masks over the views",
        "CC BY-NC-SA 4.0 (the repository's; not for commercial use)",
        None,
        url="https://github.com/hkchengrex/Tracking-Anything-with-DEVA/releases/download/v1.0/"
        "DEVA-propagation.pth",
    ),
    Checkpoint(
        "groundingdino_swinb",
        "Grounding DINO, Swin-B (cogcoor): the paper's grounding model",
        "Apache-2.0",
        None,
        kind="folder",
        repo="IDEA-Research/grounding-dino-base",
        revision="12bdfa3120f3e7ec7b434d90674b3396eccf88eb",
        patterns=_TRANSFORMERS_FILES,
    ),
    Checkpoint(
        "groundingdino_swint",
        "Grounding DINO, Swin-T: smaller and faster",
        "Apache-2.0",
        689_359_096,
        kind="folder",
        repo="IDEA-Research/grounding-dino-tiny",
        revision="a2bb814dd30d776dcf7e30523b00659f4f141c71",
        patterns=_TRANSFORMERS_FILES,
    ),
    Checkpoint(
        "lpips_vgg",
        "VGG-16 of torchvision, the backbone of LPIPS",
        "BSD-3-Clause (torchvision); trained on ImageNet, whose terms allow research",
        553_433_881,
        url="https://download.pytorch.org/models/vgg16-397923af.pth",
        sha256_prefix="397923af",
    ),
)

#: Every checkpoint by name.
CHECKPOINTS: Mapping[str, Checkpoint] = MappingProxyType({entry.name: entry for entry in _ALL})
