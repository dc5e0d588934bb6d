"""Budgets: what `quality: draft` or `standard` means for a scene on a machine.

A budget is a layer of the configuration below all that the user writes. It is made once for a scene
and written down beside its results (:data:`FILE_NAME`), so that a scene is not trained again
because it is looked at from another machine. `paper` has no budget: the keys' own defaults hold.

Sizes of the CPU's budgets are for two cores (what an iteration takes: planning/trainings.py). A
training of `standard` may take 20 minutes, one of `draft` 3.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from gradiseg_core.config.layers import Layer
from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.errors import InputError

Quality = Literal["draft", "standard", "paper"]

FILE_NAME = "budget.json"
#: Variants of a budget, where the user names none.
VARIANTS = ("gradiseg_plus",)

_MOST_THREADS = 4  # that one training uses (rules/common.smk)
#: That one takes while it is trained, an upper estimate: with the 30 % that IGD may add.
_GAUSSIAN_BYTES = 4000
_RESERVED_GB = 2.0  # of memory, for libraries and pictures


@dataclass(frozen=True)
class Facts:
    """What a budget depends on.

    Attributes:
        views: Number of photographs; None where that is not known yet.
        width: Of the largest photograph, px.
        height: Likewise.
        cores: That the workflow may use.
        memory_gb: Main memory.
        gpu_gb: Memory of the GPU that trains; None where a CPU does.
    """

    views: int | None = None
    width: int | None = None
    height: int | None = None
    cores: int = 2
    memory_gb: float = 8.0
    gpu_gb: float | None = None


@dataclass(frozen=True)
class Budget:
    """What a quality means for one scene.

    Attributes:
        quality: Its name.
        facts: What it was made from.
        sections: Values of the configuration's sections.
        variants: The trainings.
    """

    quality: Quality
    facts: Facts
    sections: Mapping[str, Mapping[str, Any]]
    variants: tuple[str, ...] = VARIANTS


#: Returns the budget of a scene: its source, the quality, the folder of its results, and where it
#: is trained (`train.device`).
BudgetOf = Callable[[SceneConfig, Quality, Path, str], Budget]

#: Frames of a video, where the configuration does not say how many.
FRAMES: Mapping[str, int] = {"draft": 60}


@dataclass(frozen=True)
class _Size:
    """A budget for two cores, or for a GPU.

    Attributes:
        iterations: Of the training.
        megapixels: Of its images.
        gaussians: At most.
        features: Of an image, for SfM, by the number of photographs up to which they hold: all
            pairs are matched, and a pair takes time as the square of the features.
        feature_side: Longest side at which they are extracted, px.
    """

    iterations: int
    megapixels: float
    gaussians: int
    features: Mapping[float, int] = field(default_factory=dict)
    feature_side: int = 3200


_ALL = math.inf
_CPU: dict[str, _Size] = {
    "draft": _Size(3000, 0.15, 20_000, {60: 4096, _ALL: 2048}, 1600),
    "standard": _Size(10_000, 0.4, 60_000, {60: 8192, 120: 6144, _ALL: 4096}),
}
_GPU: dict[str, _Size] = {  # which no GPU has run yet
    "draft": _Size(7000, 0.5, 300_000, {60: 4096, _ALL: 2048}, 1600),
    "standard": _Size(30_000, 1.7, 1_000_000, {120: 8192, _ALL: 6144}),
}


def budget(quality: Quality, facts: Facts) -> Budget:
    """Return the budget of a scene.

    Args:
        quality: `draft` or `standard`.
        facts: Machine and scene.
    """
    size = (_CPU if facts.gpu_gb is None else _GPU)[quality]
    # Of four times the cores, half goes into iterations and half into what each of them takes.
    strength = math.sqrt(max(1, min(facts.cores, _MOST_THREADS)) / 2)
    if facts.gpu_gb is not None:
        strength = 1.0
    on_gpu = {}
    room = facts.memory_gb
    if facts.gpu_gb is not None:
        views_gb = round(min(4.0, facts.gpu_gb / 4), 1)
        room, on_gpu = facts.gpu_gb - views_gb, {"gpu_views_gb": views_gb}
    fitting = int(max(0.25, room - _RESERVED_GB) * 1e9 / _GAUSSIAN_BYTES)
    gaussians = min(size.gaussians * strength, fitting)
    views = facts.views or 0
    features = next(number for most, number in size.features.items() if views <= most)
    train = {
        "iterations": _rounded(size.iterations * strength, 500),
        "longest_side": _side(size.megapixels * strength, facts.width, facts.height),
        "num_classes": "auto",
        "densification": {"max_gaussians": _rounded(gaussians, 5000)},
        "views_gb": round(min(16.0, facts.memory_gb / 4), 1),
        **on_gpu,
    }
    colmap = {"max_image_size": size.feature_side, "max_features": features}
    return Budget(quality, facts, {"colmap": colmap, "train": train})


def _rounded(value: float, step: int) -> int:
    return max(step, round(value / step) * step)


def _side(megapixels: float, width: int | None, height: int | None) -> int:
    """Return the longest side of images of so many megapixels, no longer than a photograph's."""
    wide, narrow = max(width or 3, height or 2), min(width or 3, height or 2)
    side = max(64, 16 * round(math.sqrt(megapixels * 1e6 * wide / narrow) / 16))
    return min(side, wide) if width else side


def kept(folder: Path, quality: Quality) -> Budget | None:
    """Return the budget that was written down for a scene; None where there is none.

    Args:
        folder: Of the scene's results.
        quality: Its quality.

    Raises:
        InputError: If the file is damaged.
    """
    path = folder / FILE_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if quality not in content:
            return None
        entry = content[quality]
        return Budget(quality, Facts(**entry["facts"]), entry["sections"], tuple(entry["variants"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is damaged ({error}); remove it, and `quality: {quality}` is sized anew"
        ) from error


def keep(folder: Path, made: Budget) -> None:
    """Write a budget down, beside those of other qualities, where it is not yet."""
    if kept(folder, made.quality) is not None:
        return
    path = folder / FILE_NAME
    folder.mkdir(parents=True, exist_ok=True)
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    content[made.quality] = {
        "facts": asdict(made.facts), "sections": made.sections, "variants": made.variants
    }  # fmt: skip
    partial = path.with_name(f".{FILE_NAME}.partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def kept_or_usual(scene: SceneConfig, quality: Quality, folder: Path, device: str) -> Budget:
    """Return the budget that was written down, or that of a small machine; a :data:`BudgetOf`."""
    return kept(folder, quality) or budget(quality, Facts())


def budgets_of(
    sources: Mapping[str, SceneConfig],
    qualities: Mapping[str, Quality],
    results: Path,
    folder: Path,
    devices: Mapping[str, str],
    budget_of: BudgetOf,
) -> dict[str, Budget]:
    """Return the budgets of the scenes whose quality has one.

    Args:
        sources: Of the scenes, by name; a copy's is that of the scene that it copies.
        qualities: Of the scenes.
        results: Folder of all results.
        folder: Start of relative paths.
        devices: Where the scenes are trained, by name.
        budget_of: Says what a quality means.
    """
    found = {}
    for name, quality in qualities.items():
        if quality == "paper":
            continue
        source = sources[sources[name].of or name]
        if source.path is not None:
            source = source.model_copy(update={"path": folder / source.path})
        found[name] = budget_of(source, quality, results / name, devices[name])
    return found


def usual_variants(
    raw: Mapping[str, Any], of_file: tuple[str, ...], made: Budget | None
) -> tuple[str, ...]:
    """Return the variants of a scene that names none: the file's where it does, or the budget's."""
    return of_file if made is None or raw.get("variants") else made.variants


def lay_below(
    written: dict[str, list[Layer]], made: Budget, variants: Iterable[Mapping[str, Any]]
) -> None:
    """Lay a budget below what is written of a scene, which wins.

    Who writes `train.downsample` has chosen the images' size, which is one key of two.

    Args:
        written: By section, the layers of a scene; changed.
        made: Its budget.
        variants: Definitions of its variants.
    """
    values = {stage: dict(section) for stage, section in made.sections.items()}
    own = [layer.values for layer in written["train"]]
    own += [variant.get("train") or {} for variant in variants]
    if any(layer.get("downsample") is not None for layer in own):
        values["train"].pop("longest_side", None)
    for stage, section in values.items():
        written[stage].insert(0, Layer(f"quality {made.quality}", section, ships=True))
