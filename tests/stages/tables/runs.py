"""Metrics of runs, and cells of their tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gradiseg_core.stages.tables.model import Cell, Table


def run(scene: str, variant: str, seed: int, value: float | None, **changes: Any) -> dict[str, Any]:
    masks = {"gg": {"miou": value, "mbiou": value}, "strict": {"miou": value, "mbiou": value}}
    return {
        "scene": scene, "variant": variant, "seed": seed, "source": "lerf_mask",
        "grounding": "manual", "mask_rule": "probability", "num_gaussians": 1000,
        "masks": masks, "argmax_masks": masks,
        "objects": {"available": False, "why": "no exact IDs"},
        "summary": {
            "miou": value, "mbiou": value, "object_miou": None, "object_mbiou": None,
            "object_fine_mbiou": None,
            "psnr": 30.0, "ssim": 0.9, "lpips": None,
        },
        "photometric": {"lpips_about": {"available": False, "why": "no weights"}},
        "coverage": {"masks_scored": 5, "masks_annotated": 6},
    } | changes  # fmt: skip


def write(folder: Path, runs: list[dict[str, Any]]) -> list[Path]:
    paths = []
    for entry in runs:
        path = (
            folder / entry["scene"] / entry["variant"] / f"seed{entry['seed']}" / "metrics"
            / "metrics.json"
        )  # fmt: skip
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(entry))
        paths.append(path)
    return paths


def cells(table: Table, label: str, key: str) -> list[Cell]:
    index = [column.key for column in table.columns].index(key)
    return [row.cells[index] for row in table.rows if row.label.startswith(label)]
