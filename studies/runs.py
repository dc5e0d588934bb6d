"""One small file with the scores of all runs, to keep and to compare."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SCORES = (
    "miou", "mbiou", "object_miou", "object_mbiou", "object_fine_mbiou", "psnr", "ssim", "lpips",
)  # fmt: skip


def collect_runs(metrics: list[Path], out: Path, *, variants: Mapping[str, Any]) -> None:
    """Write the headline scores of every run, one line each.

    Args:
        metrics: ``metrics.json`` files.
        out: JSON file to write: ``variants`` and ``runs``, in the order of the scenes' names,
            variants and seeds.
        variants: By name, the definition of each variant that does not ship.
    """
    write_runs([headline(json.loads(path.read_text())) for path in metrics], out, variants)


def collect_branches(
    slices: list[Path], out: Path, *, variants: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Write the same from slices of a study (:mod:`studies.slices`).

    Returns:
        The runs, in the order of the slices and of their variants.
    """
    runs = [run for path in slices for run in json.loads(path.read_text())]
    write_runs(runs, out, variants)
    return runs


def collect_removals(scores: list[Path], out: Path) -> list[dict[str, Any]]:
    """Write the mean scores of edits, a line for each training, way and kind, and of each edit.

    Args:
        scores: ``<scene>/<variant>/seed<n>/removal/scores.json``.
        out: JSON file to write, in the form of :func:`write_runs`; ``variant`` names the way too,
            and a swap.

    Returns:
        The lines.
    """
    runs = []
    for path in scores:
        scene, variant, seed = path.parts[-5:-2]
        rows = json.loads(path.read_text())
        for edit, way in dict.fromkeys((row["edit"], row["way"]) for row in rows):
            own = [row for row in rows if (row["edit"], row["way"]) == (edit, way)]
            visible = [row["residue"] for row in own if row["residue"] is not None]
            kind = () if edit == "remove" else (edit,)
            runs.append(
                {
                    "scene": scene,
                    "variant": ", ".join((variant, *kind, way)),
                    "seed": int(seed.removeprefix("seed")),
                    "region_psnr": round(sum(row["psnr"] for row in own) / len(own), 3),
                    "region_ssim": round(sum(row["ssim"] for row in own) / len(own), 4),
                    "residue": round(sum(visible) / len(visible), 4) if visible else None,
                    "things": {
                        ", ".join(row["things"]): [round(row["psnr"], 2), _rounded(row["residue"])]
                        for row in own
                    },
                    "commit": ", ".join(dict.fromkeys(row["commit"] for row in own)),
                }
            )
    write_runs(runs, out, {})
    return runs


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def write_runs(runs: list[dict[str, Any]], out: Path, variants: Mapping[str, Any]) -> None:
    """Write ``variants`` and runs, a line each, in the order of scenes, variants and seeds."""
    runs = sorted(runs, key=lambda run: (run["scene"], run["variant"], run["seed"]))
    lines = ",\n".join(f"  {json.dumps(run)}" for run in runs)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(f'{{\n "variants": {json.dumps(variants)},\n "runs": [\n{lines}\n ]\n}}\n')


def headline(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the kept part of ``metrics.json``, with scores rounded to their meaningful digits."""
    kept = {key: metrics[key] for key in ("scene", "variant", "seed", "iterations")}
    kept["num_gaussians"] = metrics["num_gaussians"]
    kept["grounding"] = metrics.get("grounding")
    for key in _SCORES:
        value = metrics["summary"].get(key)
        kept[key] = None if value is None else round(value, 5)
    gaussians = metrics.get("gaussians") or {}
    for key in ("purity", "iou"):
        value = gaussians.get(key)
        kept[f"gaussian_{key}"] = None if value is None else round(value, 5)
    # A study runs without LPIPS's weights, so their absence is not recorded.
    reasons = {
        key: why
        for key, why in metrics.get("not_available", {}).items()
        if key in _SCORES and key != "lpips"
    }
    partial = {key: part for key, part in metrics.get("partial", {}).items() if key in _SCORES}
    return (
        kept
        | ({"not_available": reasons} if reasons else {})
        | ({"partial": partial} if partial else {})
    )
