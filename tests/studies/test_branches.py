"""Variants trained from what they share end bit for bit where separate runs end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gradiseg_core.compute.cpu_runtime import set_threads
from gradiseg_core.config.grounding import GroundingConfig
from gradiseg_core.config.metrics import MetricsConfig
from gradiseg_core.config.parts import Densification, Igd, NearPruning
from gradiseg_core.config.render import RenderConfig
from gradiseg_core.config.train import LaKnn, Losses, TrainConfig
from gradiseg_core.config.variants import with_variant
from gradiseg_core.errors import InputError
from gradiseg_core.splatting.trainer import Trainer
from gradiseg_core.stages.training.data import load_training_data
from studies import slices as study
from studies.branches import Branch, train_branches
from tests.synthetic import write_scene

COMMON = TrainConfig(
    iterations=60,
    num_classes="auto",
    losses=Losses(samples=100),
    densification=Densification(max_gaussians=700),
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return write_scene(tmp_path_factory.mktemp("balls"))


def branch(name: str, like: str = "gradiseg", **changes: object) -> Branch:
    return Branch(name, with_variant(COMMON.model_copy(update=changes), like))


LATE = Losses(samples=100, disagreement_width=0.02, robust_start=21_000)
HELD = Losses(samples=100, identity_geometry_start=13_000)
BRANCHES = [
    branch("late", igd=Igd(start=14_000, until=16_000), la_knn=LaKnn(start=13_500)),
    branch("baseline", "baseline"),
    branch("igd", "igd"),
    branch("last", "la_knn", la_knn=LaKnn(direction="last", start=15_000)),
    branch("held", "la_knn", losses=HELD),
    branch("doubting", "igd", losses=LATE),
    branch("cleared", "baseline", near_pruning=NearPruning(ratio=0.05, start=24_000)),
    branch("blended", "igd", losses=LATE.model_copy(update={"blended": "probabilities"})),
    Branch("longer", COMMON.model_copy(update={"igd": None, "la_knn": None})),
]


def test_trunks_and_starts() -> None:
    by_name = {member.name: member for member in BRANCHES}
    starts = {name: member.start for name, member in by_name.items()}
    assert starts["late"] == 13_500
    assert starts["igd"] == starts["doubting"] == 12_000
    assert starts["held"] == 12_000
    assert starts["baseline"] == starts["longer"] > 30_000
    assert by_name["longer"].trunk == by_name["igd"].trunk
    assert starts["cleared"] == 24_000
    assert by_name["cleared"].trunk == by_name["baseline"].trunk
    assert by_name["igd"].trunk == by_name["late"].trunk == by_name["doubting"].trunk
    others = [by_name[name].trunk for name in ("igd", "baseline", "last", "held", "blended")]
    assert all(a != b for i, a in enumerate(others) for b in others[:i])


def test_branches_end_where_separate_runs_end(scene: tuple[Path, Path, Path]) -> None:
    set_threads(1)
    loads = []

    def load(config: TrainConfig):
        loads.append(config)
        return load_training_data(*scene, config)

    seen: dict[str, int] = {}
    for member, trainer in train_branches(load, BRANCHES, 5, CPU):
        seen[member.name] = len(trainer.gaussians)
        alone = Trainer(load_training_data(*scene, member.config), member.config, 5)
        for _ in range(member.config.iterations):
            alone.iterate()
        assert trainer.step == alone.step == 60
        for name, value in alone.gaussians.params.items():
            assert torch.equal(trainer.gaussians.params[name], value), (member.name, name)
        assert torch.equal(trainer.classifier.weight, alone.classifier.weight), member.name
    assert sorted(seen) == sorted(member.name for member in BRANCHES)
    assert seen["cleared"] < seen["baseline"]
    assert len(loads) == 5


def test_a_slice_is_scored_and_goes_on_after_a_kill(
    scene: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(members: list[Branch], stamp: str = "code") -> list[dict]:
        grounding = GroundingConfig(backend="manual", pictures=False)
        metrics = MetricsConfig(lpips=False)
        task = study.Slice(*scene, 1, RenderConfig(), grounding, metrics, stamp)
        finished = tmp_path / "finished.jsonl"
        study.run_branches(task, members, tmp_path / "out.json", finished=finished, threads=1)
        return json.loads((tmp_path / "out.json").read_text())

    trained: list[str] = []

    def counted(load, members, *rest):
        trained.extend(member.name for member in members)
        return train_branches(load, members, *rest)

    monkeypatch.setattr(study, "train_branches", counted)
    first = run(BRANCHES[:2])
    assert [row["variant"] for row in first] == ["late", "baseline"]
    assert all(row["psnr"] > 10 and row["seed"] == 1 for row in first)
    with (tmp_path / "finished.jsonl").open("a") as file:
        file.write('\n["cut by a ki')
    assert run(BRANCHES[:3])[:2] == first
    run(BRANCHES[:3])
    assert trained == ["late", "baseline", "igd"]
    run(BRANCHES[:1], stamp="other code")
    assert trained[3:] == ["late"]


def test_a_study_that_needs_checkpoints_is_refused(tmp_path: Path) -> None:
    grounding = GroundingConfig(backend="groundingdino")
    metrics = MetricsConfig(lpips=False)
    scene = (tmp_path, tmp_path, tmp_path)
    task = study.Slice(*scene, 1, RenderConfig(), grounding, metrics, "code")
    with pytest.raises(InputError, match=r"grounding\.backend to manual or colour_words"):
        study.run_branches(task, BRANCHES, tmp_path / "out.json", finished=tmp_path, threads=1)
