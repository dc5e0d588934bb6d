"""Configuration of the tables."""

from __future__ import annotations

from typing import Literal

from gradiseg_core.config.base import Section, option


class TablesConfig(Section):
    """Which tables are written, and how."""

    aggregation: Literal["gg", "strict", "both"] = option(
        "strict", "Aggregation of the mask scores; `both` writes one table for each."
    )
    published: bool = option(
        True, "Print published numbers beside ours if the scene belongs to their dataset."
    )
    reference_variant: str = option(
        "baseline",
        "Variant that tables list first and studies compare with.",
        source="GradiSeg Table 4",
    )
