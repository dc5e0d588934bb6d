"""Names of methods in tables and plots, and the variants that ship."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

#: The variants that ship, as a user would write them under `own_variants`.
PRESETS: dict[str, dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent / "presets" / "variants.yaml").read_text(encoding="utf-8")
)

#: Names of all methods, in the order of the tables.
VARIANT_LABELS: dict[str, str] = {
    **{name: preset["label"] for name, preset in PRESETS.items()},
    "deva_2d": "DEVA (2D tracks, no Gaussians)",
    "deva+sfm_2d": "DEVA repaired by SfM (2D tracks, no Gaussians)",
    "sfm_2d": "SfM association (2D tracks, no Gaussians)",
    "precomputed_2d": "precomputed IDs (2D tracks, no Gaussians)",
}
