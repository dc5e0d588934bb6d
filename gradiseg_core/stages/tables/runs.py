"""The runs that tables are made of: their scores, names and the dataset that each belongs to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from gradiseg_core.config.labels import VARIANT_LABELS
from gradiseg_core.errors import InputError
from gradiseg_core.stages.tables.model import Column

Run = dict[str, Any]
Mode = Literal["gg", "strict"]


@cache
def published() -> dict[str, Any]:
    """Return the published numbers, their sources and caveats (``published.json``)."""
    return json.loads((Path(__file__).parent / "published.json").read_text(encoding="utf-8"))


def read_runs(paths: list[Path], labels: Mapping[str, str]) -> list[Run]:
    """Return the contents of every ``metrics.json``, each with its variant's ``label``.

    Args:
        paths: ``metrics.json`` files.
        labels: Names in tables of variants that do not ship.

    Raises:
        InputError: If a file is missing or not a ``metrics.json``, or two are of the same run.
    """
    known = VARIANT_LABELS | dict(labels)
    runs: dict[tuple[str, str, int, str], Run] = {}
    for path in paths:
        try:
            run = json.loads(path.read_text())
            key = (run["scene"], run["variant"], run["seed"], run["grounding"])
            run["label"] = known.get(run["variant"], run["variant"])
        except FileNotFoundError as error:
            raise InputError(f"{path} not found; run the metrics stage first") from error
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is not a metrics.json of this project: {error!r}") from error
        if key in runs:
            raise InputError(f"{path}: scene {key[0]}, variant {key[1]}, seed {key[2]} came twice")
        runs[key] = run
    return list(runs.values())


def value(run: Run, column: Column, mode: Mode) -> float | None:
    """Return a run's number for a column, or None."""
    if column.key in ("miou", "mbiou"):
        return run["masks"][mode][column.key]
    if column.key in ("argmax_miou", "argmax_mbiou"):
        return run["argmax_masks"][mode][column.key.removeprefix("argmax_")]
    if column.key == "num_gaussians":
        # A method in 2D has none.
        return None if run["num_gaussians"] is None else float(run["num_gaussians"])
    return run["summary"][column.key]


def remark(run: Run, column: Column, mode: Mode) -> str | None:
    """Return why a run has no number for a column, or which part its mean covers, or None."""
    number = value(run, column, mode)
    if number is not None:
        part = _part(run, column, mode)
        return f"{run['scene']}: mean {part}." if part else None
    why = _why(run, column, mode) or "it is undefined"
    return f"{run['scene']}: not available: {why}."


def _why(run: Run, column: Column, mode: Mode) -> str | None:
    masks = _masks(run, column, mode)
    if masks is not None:
        return masks.get("why")
    if column.key == "num_gaussians":
        return "a method in 2D has none"
    return run.get("not_available", {}).get(column.key)


def _part(run: Run, column: Column, mode: Mode) -> str | None:
    masks = _masks(run, column, mode)
    return masks.get("over") if masks is not None else run.get("partial", {}).get(column.key)


def _masks(run: Run, column: Column, mode: Mode) -> dict[str, Any] | None:
    """Return the scores of masks to which a column belongs, or None."""
    if column.key in ("miou", "mbiou"):
        return run["masks"][mode]
    if column.key in ("argmax_miou", "argmax_mbiou"):
        return run["argmax_masks"][mode]
    return None


def dataset_of(run: Run) -> str | None:
    """Return the key of the published dataset that a run's scene belongs to."""
    for key, dataset in published()["datasets"].items():
        if run["source"] == dataset["source"] and run["scene"].lower() in dataset["scenes"]:
            return key
    return None
