"""Fill the marked parts of the pages from the result files: ``make docs``.

Every number of the README and of the pages of docs/ and studies/ comes from a file of
``docs/results/``, which says with which command, when, on which machine and at which commit it was
measured. A page marks where it goes::

    <!-- table: name -->        a table that tables.toml defines, with its source below
    <!-- end -->
    <!-- value: name -->78.7<!-- end -->    one number, within a line

Usage: ``python -m docs.build`` writes the pages, ``python -m docs.build --check`` only says which
of them differ. The core knows nothing of this module.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

DOCS = Path(__file__).resolve().parent
PAGES = (
    DOCS.parent / "README.md",
    *sorted(DOCS.glob("*.md")),
    *sorted((DOCS.parent / "studies").glob("*.md")),
)
#: Name of a score, its heading, its decimals and what it is multiplied with.
SCORES = {
    "miou": ("prompts mIoU", 1, 100.0),
    "mbiou": ("prompts mBIoU", 1, 100.0),
    "object_miou": ("mIoU", 1, 100.0),
    "object_mbiou": ("mBIoU", 1, 100.0),
    "object_fine_mbiou": ("fine mBIoU", 1, 100.0),
    "render_miou": ("mIoU", 1, 100.0),  # labels scored at the size of the rendering
    "render_mbiou": ("mBIoU", 1, 100.0),
    "render_fine_mbiou": ("fine mBIoU", 1, 100.0),
    "gaussian_purity": ("purity", 1, 100.0),
    "psnr": ("PSNR", 2, 1.0),
    "region_psnr": ("PSNR there, dB", 1, 1.0),
    "region_ssim": ("SSIM there", 2, 1.0),
    "residue": ("residue, %", 1, 100.0),
    "ssim": ("SSIM", 3, 1.0),
    "num_gaussians": ("Gaussians", 0, 1.0),
}
#: Grounding backends in words.
WAYS = {"colour_words": "by colour words", "clicks": "by clicks", "manual": "IDs by hand"}
_BLOCK = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
_VALUE = re.compile(r"(<!-- value: (\S+) -->)[^\n]*?(<!-- end -->)")

Run = dict[str, Any]


@cache
def definitions() -> dict[str, Any]:
    """Return the contents of ``tables.toml``."""
    return tomllib.loads((DOCS / "tables.toml").read_text(encoding="utf-8"))


@cache
def results(name: str) -> dict[str, Any]:
    """Return a result file; see the module's docstring."""
    return json.loads((DOCS / "results" / f"{name}.json").read_text(encoding="utf-8"))


def fill(text: str, page: Path) -> str:
    """Return a page with its marked parts renewed.

    Raises:
        KeyError: If a mark names what ``tables.toml`` or a result file lacks.
    """
    text = _BLOCK.sub(lambda m: m[1] + table(m[2], page) + m[3], text)
    return _VALUE.sub(lambda m: m[1] + value(m[2]) + m[3], text)


def table(name: str, page: Path) -> str:
    """Return a table of ``tables.toml`` as Markdown, and where it is from."""
    spec = definitions()["tables"][name]
    source = results(spec["file"])
    if spec["kind"] == "rows":
        entry = source["tables"][spec["name"]]
        header, rows, about = entry["header"], entry["rows"], source["about"] | entry["about"]
    else:
        header, rows = KINDS[spec["kind"]](spec, source["runs"])
        about = source["about"]
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    folder = Path(os.path.relpath(DOCS / "results", page.parent)).as_posix()
    return "\n".join([*lines, "", provenance(spec["file"], about, folder)]) + "\n"


def provenance(file: str, about: dict[str, str], folder: str) -> str:
    """Return the line below a table: its file, and what is known of its measurement."""
    parts = [f"`{about['command']}`"] if about.get("command") else []
    parts += [about[key] for key in ("date", "machine", "note") if about.get(key)]
    parts += [f"commit `{about['commit']}`"] if about.get("commit") else []
    return f"*[{file}.json]({folder}/{file}.json): {', '.join(parts)}.*"


def value(name: str) -> str:
    """Return a number: ``file:scenes:variant:score``, a mean over scenes and seeds."""
    file, scenes, variant, key = name.split(":")
    chosen = _of(results(file)["runs"], scenes.split(","), variant)
    _, digits, factor = SCORES[key]
    means, _ = _over_seeds(chosen, key)
    return f"{factor * float(np.mean(means)):.{digits}f}"


def heading(key: str, runs: list[Run]) -> str:
    """Return a score's heading; that of prompts says what answered them, where all say the same."""
    ways = {run.get("grounding") for run in runs}
    way = ways.pop() if key in ("miou", "mbiou") and len(ways) == 1 else None
    return SCORES[key][0] if way is None else f"{SCORES[key][0]} ({WAYS.get(way, way)})"


def _means(spec: dict[str, Any], runs: list[Run]) -> tuple[list[str], list[list[str]]]:
    """Return mean ± sample standard deviation over seeds of the mean over scenes."""
    keys = spec["scores"]
    groups = [(spec["label"], spec["scenes"])] if "scenes" in spec else spec["groups"]
    grouped = "groups" in spec
    header = ["masks", "variant"] if grouped else [spec["label"]]
    shown = [run for _, scenes in groups for run in runs if run["scene"] in scenes]
    header += ["seeds", *(heading(key, shown) for key in keys)]
    rows = []
    for label, scenes in groups:
        for variant, name in spec["variants"]:
            chosen = _of(runs, scenes, variant)
            if not chosen:
                continue
            cells = [_mean_cell(chosen, key) for key in keys]
            first = [label, name] if grouped else [name]
            rows.append([*first, str(len({run["seed"] for run in chosen})), *cells])
    return header, rows


def _mean_cell(runs: list[Run], key: str) -> str:
    means, missing = _over_seeds(runs, key)
    if not means:
        return "not available"
    _, digits, factor = SCORES[key]
    text = f"{factor * float(np.mean(means)):,.{digits}f}"
    if len(means) > 1 and digits:
        text += f" ± {factor * float(np.std(means, ddof=1)):.{digits}f}"
    return text + (f" ({len(runs) - missing} of {len(runs)} runs)" if missing else "")


def _over_seeds(runs: list[Run], key: str) -> tuple[list[float], int]:
    """Return the mean over scenes of each seed that has all of them, and how many runs lack it."""
    seeds: dict[int, list[float]] = {}
    for run in runs:
        if run[key] is not None:
            seeds.setdefault(run["seed"], []).append(run[key])
    scenes = len({run["scene"] for run in runs})
    whole = [float(np.mean(own)) for own in seeds.values() if len(own) == scenes]
    return whole, sum(run[key] is None for run in runs)


def _differences(spec: dict[str, Any], runs: list[Run]) -> tuple[list[str], list[list[str]]]:
    """Return differences from a reference, paired by scene and seed, with their spread."""
    keys = spec["scores"]
    rows = []
    for variant, name, *other in spec["variants"]:
        reference = other[0] if other else spec["reference"]
        pairs = _pairs(runs, spec["scenes"], variant, reference)
        seeds = spec.get("spread") == "seeds"
        cells = [_difference_cell(pairs, key, seeds=seeds) for key in keys]
        if "by_scene" in spec:
            cells.append(_by_scene(pairs, spec["scenes"], spec["by_scene"]))
        first = [name, reference] if any(len(v) > 2 for v in spec["variants"]) else [name]
        rows.append([*first, str(len(pairs)), *cells])
    several = any(len(v) > 2 for v in spec["variants"])
    header = ["variant", *(["against"] if several else []), "runs"]
    header += [
        heading(key, [run for run in runs if run["scene"] in spec["scenes"]]) for key in keys
    ]
    if "by_scene" in spec:
        scenes = ", ".join(scene.replace("_", " ") for scene in spec["scenes"])
        header.append(f"{SCORES[spec['by_scene']][0]} by scene: {scenes}")
    return header, rows


def _by_scene(pairs: list[tuple[Run, Run]], scenes: list[str], key: str) -> str:
    _, digits, factor = SCORES[key]
    means = [
        np.mean([factor * (run[key] - other[key]) for run, other in pairs if run["scene"] == scene])
        for scene in scenes
    ]
    return ", ".join(f"{mean:+.{digits}f}" for mean in means)


def _pairs(
    runs: list[Run], scenes: list[str], variant: str, reference: str
) -> list[tuple[Run, Run]]:
    own, other = (
        {(run["scene"], run["seed"]): run for run in _of(runs, scenes, name)}
        for name in (variant, reference)
    )
    return [(run, other[place]) for place, run in own.items() if place in other]


def _difference_cell(pairs: list[tuple[Run, Run]], key: str, *, seeds: bool) -> str:
    """Return the mean and its standard error, or the standard deviation over the seeds' means."""
    _, digits, factor = SCORES[key]
    known = [(run, other) for run, other in pairs if None not in (run[key], other[key])]
    values = [factor * (run[key] - other[key]) for run, other in known]
    if not values:
        return "not available"
    text = f"{np.mean(values):+.{digits}f}"
    spread = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else None
    if seeds:
        by_seed: dict[int, list[float]] = {}
        for (run, _), difference in zip(known, values, strict=True):
            by_seed.setdefault(run["seed"], []).append(difference)
        means = [float(np.mean(own)) for own in by_seed.values()]
        spread = np.std(means, ddof=1) if len(means) > 1 else None
    if spread is not None and digits:
        text += f" ± {spread:.{digits}f}"
    return text if len(values) == len(pairs) else f"{text} ({len(values)} of {len(pairs)} runs)"


def _of(runs: list[Run], scenes: list[str], variant: str) -> list[Run]:
    return [run for run in runs if run["scene"] in scenes and run["variant"] == variant]


KINDS: dict[str, Callable[[dict[str, Any], list[Run]], tuple[list[str], list[list[str]]]]] = {
    "means": _means,
    "differences": _differences,
}


def stale() -> dict[Path, str]:
    """Return the pages that differ from what the result files give, and what they should be."""
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES}
    renewed = {page: fill(text, page) for page, text in texts.items()}
    return {page: text for page, text in renewed.items() if text != texts[page]}


def main() -> int:
    """Entry point."""
    pages = stale()
    check = "--check" in sys.argv[1:]
    for page, text in pages.items():
        if not check:
            page.write_text(text, encoding="utf-8")
        print(f"{page.relative_to(DOCS.parent)}: {'differs' if check else 'renewed'}")
    return int(check and bool(pages))


if __name__ == "__main__":
    sys.exit(main())
