"""Configuration of stage `masks`: class-agnostic segments of every training view."""

from __future__ import annotations

from typing import ClassVar

from gradiseg_core.config.backends import BackendConfig
from gradiseg_core.config.base import option, renamed


class MasksConfig(BackendConfig):
    """Where the segments come from."""

    stage: ClassVar[str] = "masks"
    removed: ClassVar[dict[str, str]] = {"folder": renamed("masks.precomputed.folder")}

    backend: str = option(
        "graph",
        "How the segments are made.",
    )
