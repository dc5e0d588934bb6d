"""Configuration of the tables."""

from __future__ import annotations

from typing import Literal

from gradiseg_core.config.base import Section, option


class TablesConfig(Section):
    """Which tables are written, and how."""

    aggregation: Literal["gg", "strict", "both"] = option(
        "strict", "Aggregation of mask scores; `both` writes two tables."
    )
    published: bool = option(
        True, "Print published numbers beside ours where scene and dataset agree."
    )
    reference_variant: str = option(
        "baseline",
        "Variant that tables list first.",
        source="GradiSeg Table 4",
    )
