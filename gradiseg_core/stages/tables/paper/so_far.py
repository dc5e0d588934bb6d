"""The paper's tables of what has run so far, while the rest still runs or will never run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from gradiseg_core.config.paper_plan import paper_plan
from gradiseg_core.config.reading import read_files
from gradiseg_core.config.root import Settings, load
from gradiseg_core.stages.tables import writers
from gradiseg_core.stages.tables.paper.build import make_paper_tables, write_paper_tables


def finished(settings: Settings) -> Iterator[Path]:
    """Yield the scores that exist, of the runs that a configuration names."""
    for scene in paper_plan(settings).scenes:
        folder = Path(settings.root.results) / scene
        runs = [
            folder / variant / f"seed{seed}"
            for variant in settings.variants_of(scene)
            for seed in settings.seeds_of(scene)
        ]
        paths = [run / "metrics" for run in runs]
        if settings.uses(scene, "second_grounding"):
            paths += [run / "second_metrics" for run in runs]
        if settings.uses(scene, "tracking_2d"):
            paths.append(folder / "tracks_2d" / "metrics")
        yield from (path / "metrics.json" for path in paths if (path / "metrics.json").is_file())


def tables_so_far(configfiles: Iterable[Path], out_dir: Path | None = None) -> str:
    """Return the tables of what has run so far as text.

    Args:
        configfiles: As for ``snakemake --configfile``.
        out_dir: Folder to write the tables to as well, as the workflow writes them.

    Raises:
        ConfigError: If a file cannot be read, or the configuration is not valid.
        InputError: If a run's scores cannot be read.
    """
    settings = load(read_files(configfiles))
    metrics, plan = list(finished(settings)), paper_plan(settings)
    if out_dir is not None:
        write_paper_tables(metrics, out_dir, plan)
    parts = make_paper_tables(metrics, plan).values()
    return "\n".join("\n".join(map(writers.text, tables)) for tables in parts)
