"""Our side of the paper's tables: which runs belong to which table, and their means over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from gradiseg_core.config.paper import PaperPlan
from gradiseg_core.stages.tables.model import Cell, Column
from gradiseg_core.stages.tables.runs import Mode, Run, dataset_of, published, remark, value


@dataclass(frozen=True)
class Number:
    """A score of a run under some aggregation.

    Attributes:
        column: Its name in ``metrics.json`` and in sentences.
        mode: Aggregation; only scores of masks depend on it.
    """

    column: Column
    mode: Mode = "strict"

    def __call__(self, run: Run) -> float | None:
        """Return the score, or None if it is not available."""
        return value(run, self.column, self.mode)

    def remarks(self, runs: Iterable[Run]) -> list[str]:
        """Return why runs have no score, or which part it covers."""
        return [text for run in runs if (text := remark(run, self.column, self.mode))]


MISSING = Cell(None, count=0, instead="missing")


@dataclass(frozen=True)
class Runs:
    """The runs of one table, by variant, scene and seed.

    Attributes:
        dataset: Key of the dataset in ``published.json``.
        by_key: (variant, scene in the paper's spelling, seed) -> contents of ``metrics.json``.
        plan: What the configuration holds of the paper.
    """

    dataset: str
    by_key: Mapping[tuple[str, str, int], Run]
    plan: PaperPlan

    @classmethod
    def of(cls, dataset: str, runs: Iterable[Run], plan: PaperPlan) -> Runs:
        """Return the runs of a dataset's scenes."""
        own = [run for run in runs if dataset_of(run) == dataset]
        by_key = {(run["variant"], run["scene"].lower(), run["seed"]): run for run in own}
        return cls(dataset, by_key, plan)

    @property
    def scenes(self) -> list[str]:
        """All scenes of the dataset, whether they ran or not, in the paper's order."""
        return published()["datasets"][self.dataset]["scenes"]

    @property
    def scenes_run(self) -> list[str]:
        """The scenes that ran, in the paper's order."""
        there = {scene for _, scene, _ in self.by_key}
        return [scene for scene in self.scenes if scene in there]

    def all(self) -> list[Run]:
        """Return every run."""
        return list(self.by_key.values())

    def only(self, variants: Sequence[str]) -> Runs:
        """Return the runs of some variants."""
        kept = {key: run for key, run in self.by_key.items() if key[0] in variants}
        return replace(self, by_key=kept)

    def variants(self) -> list[str]:
        """Return the variants that ran, in the order of the runs."""
        return list(dict.fromkeys(variant for variant, _, _ in self.by_key))

    def seeds(self) -> list[int]:
        """Return the seeds of any run."""
        return sorted({seed for _, _, seed in self.by_key})

    def label(self, variant: str, default: str) -> str:
        """Return a variant's name in tables."""
        found = (run["label"] for (name, _, _), run in self.by_key.items() if name == variant)
        return next(found, self.plan.labels.get(variant, default))

    def cell(self, variant: str, scene: str, number: Number) -> Cell:
        """Return a variant's mean over the seeds of one scene, or a missing cell."""
        runs = [run for (name, at, _), run in self.by_key.items() if (name, at) == (variant, scene)]
        return _over_seeds([number(run) for run in runs], number.remarks(runs))

    def mean_cell(self, variant: str, scenes: Sequence[str], number: Number) -> Cell:
        """Return the mean, over seeds that ran on all scenes, of the mean over scenes."""
        values: list[float | None] = []
        remarks: list[str] = []
        left_out = []
        for seed in self.seeds():
            found = [self.by_key.get((variant, scene, seed)) for scene in scenes]
            runs = [run for run in found if run is not None]
            if len(runs) == len(scenes):
                numbers = [number(run) for run in runs]
                full = [score for score in numbers if score is not None]
                values.append(sum(full) / len(full) if len(full) == len(scenes) else None)
                remarks += number.remarks(runs)
            elif runs:
                left_out.append(str(seed))
        if values and left_out:
            remarks.append(f"Without seed {', '.join(left_out)}, which has not run on all scenes.")
        return _over_seeds(values, remarks)

    def why_missing(self) -> list[str]:
        """Return why scenes did not run, scenes with the same reason together."""
        reasons: dict[str, list[str]] = {}
        planned = {scene.lower() for scene in self.plan.scenes}
        absent = {scene.lower(): why for scene, why in self.plan.absent.items()}
        for scene in self.scenes:
            if scene not in self.scenes_run:
                why = "not run yet" if scene in planned else "not in this configuration"
                reasons.setdefault(absent.get(scene, why), []).append(scene)
        return [f"Missing: {', '.join(scenes)} ({why})." for why, scenes in reasons.items()]


def _over_seeds(values: list[float | None], remarks: Sequence[str]) -> Cell:
    return Cell.of(values, remarks) if values else MISSING


def mask_number(metric: str, mode: Mode) -> Number:
    """Return a score of the prompts' masks under an aggregation."""
    return Number(Column(metric, {"miou": "mIoU", "mbiou": "mBIoU"}[metric], 1), mode)


def image_number(key: str) -> Number:
    """Return a score of images."""
    return Number(Column(key, key.upper().replace("_3DGS", "").replace("_AUTHORS", ""), 2))


def facts(runs: Sequence[Run]) -> list[str]:
    """Return sentences on seeds and length of the runs, for a caption."""
    trained = [run for run in runs if run["num_gaussians"] is not None]
    seeds = sorted({run["seed"] for run in trained})
    lengths = sorted({run["iterations"] for run in trained})
    if not trained:
        return []
    several = "; mean ± sample standard deviation over them" if len(seeds) > 1 else ""
    text = [f"Seeds: {', '.join(map(str, seeds))}{several}."]
    if lengths == [30_000]:
        text.append("30,000 iterations, as in the paper.")
    else:
        shown = " and ".join(f"{length:,}" for length in lengths)
        text.append(f"Ours trained {shown} iterations where the paper trains 30,000.")
    return text


def own_variants(runs: Runs, listed: Iterable[str], left_out: Iterable[str]) -> list[str]:
    """Return the variants of a table: those that it always lists, then what else ran."""
    names = list(listed)
    hidden = {*names, *left_out}
    return [*names, *(variant for variant in runs.variants() if variant not in hidden)]
