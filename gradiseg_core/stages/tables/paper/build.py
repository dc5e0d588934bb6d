"""All tables of the paper from the scores of the runs that exist."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gradiseg_core.config.paper import FIGURE, FILES, PaperPlan
from gradiseg_core.stages.tables import writers
from gradiseg_core.stages.tables.model import Table
from gradiseg_core.stages.tables.paper.coverage import coverage_table
from gradiseg_core.stages.tables.paper.images import image_tables
from gradiseg_core.stages.tables.paper.masks import MODES, by_hand, by_text, mask_table
from gradiseg_core.stages.tables.paper.ours import Runs
from gradiseg_core.stages.tables.paper.sweep import only_in_sweep, sweep_table
from gradiseg_core.stages.tables.runs import read_runs

_INTRODUCTION = """\
# The paper's tables

Ours beside the numbers of GradiSeg (arXiv 2412.00392v1) as they are printed; contradictions in them
are noted and not corrected. A cell of ours is *missing* if there is no such run, and a dash with a
footnote if a run has no such score (0 / 0, no test view, an LPIPS without its weights).
"""


def make_paper_tables(metrics: list[Path], plan: PaperPlan) -> dict[str, list[Table]]:
    """Return the tables of each part of the paper, by the keys of :data:`FILES`.

    Args:
        metrics: ``metrics.json`` of every run of the paper's scenes; none is an empty list.
        plan: What the configuration holds of the paper.

    Raises:
        InputError: If a file is missing or not a ``metrics.json``, or two are of the same run.
    """
    runs = read_runs(metrics, plan.labels)
    text, hand = (Runs.of("lerf_mask", own, plan) for own in (by_text(runs), by_hand(runs)))
    images = Runs.of("mipnerf360", runs, plan)
    sweep = only_in_sweep(plan)
    grounded = {"1": text, "2": hand, "4": text}
    parts: dict[str, list[Table]] = {
        f"Table {number}": [mask_table(number, own, mode, sweep) for mode in MODES]
        for number, own in grounded.items()
    }
    parts["Table 3"] = image_tables(images)
    parts["Figure 6"] = [sweep_table(text, mode) for mode in MODES]
    parts["Coverage"] = [coverage_table({"by text": text, "by hand": hand, "": images})]
    return {name: parts[name] for name in FILES}


def write_paper_tables(
    metrics: list[Path], out_dir: Path, plan: PaperPlan
) -> Mapping[str, list[Table]]:
    """Write ``tables.md``, ``tables.tex`` and the files of :data:`FILES`.

    Args:
        metrics: As for :func:`make_paper_tables`.
        out_dir: Folder to write.
        plan: What the configuration holds of the paper.

    Returns:
        The tables by part of the paper.

    Raises:
        InputError: As :func:`make_paper_tables`.
    """
    parts = make_paper_tables(metrics, plan)
    out_dir.mkdir(parents=True, exist_ok=True)
    sections = [_INTRODUCTION]
    for name, tables in parts.items():
        sections += map(writers.markdown, tables)
        if name == "Figure 6":
            sections.append(f"![mIoU over the start of IGD]({FIGURE})\n")
        (out_dir / FILES[name]).write_text(writers.csv_rows(tables), encoding="utf-8")
    (out_dir / "tables.md").write_text("\n".join(sections), encoding="utf-8")
    everything = [table for tables in parts.values() for table in tables]
    needs = "% needs \\usepackage{booktabs}\n\n"
    latex = needs + "\n".join(map(writers.latex, everything))
    (out_dir / "tables.tex").write_text(latex, encoding="utf-8")
    return parts
