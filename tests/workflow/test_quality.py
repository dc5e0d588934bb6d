"""Budgets: what `quality` means, that the user's keys win, and that a budget is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from gradiseg_core.compute import machine
from gradiseg_core.config.quality import Facts, budget, keep, kept
from gradiseg_core.config.root import Settings, load
from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.config.variants import with_variant
from gradiseg_core.errors import ConfigError, InputError
from gradiseg_core.planning import trainings
from gradiseg_core.planning.budgets import budget_maker, keep_budgets, photographs_of

PHONE = Facts(views=40, width=4000, height=3000, cores=2, memory_gb=16.0)


def photographs(folder: Path, count: int = 9, size: tuple[int, int] = (400, 300)) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", size, (number, 0, 0)).save(folder / f"{number}.jpg")
    return folder


def loaded(tmp_path: Path, **keys: Any) -> Settings:
    if not (tmp_path / "photos").exists():
        photographs(tmp_path / "photos")
    scene = {"path": "photos"} | keys.pop("scene", {})
    return load({"scenes": {"a": scene}, **keys}, tmp_path, budget_of=budget_maker(2))


def train(settings: Settings, variant: str = "gradiseg_plus") -> TrainConfig:
    section = settings.section("a", "train", variant)
    assert isinstance(section, TrainConfig)
    return section


def seconds(quality: Any, facts: Facts) -> float:
    """How long one core would train, by what iterations were measured to take."""
    values = budget(quality, facts).sections["train"]
    config = with_variant(TrainConfig.model_validate(values), "gradiseg_plus")
    wide, narrow = sorted((facts.width or 3, facts.height or 2), reverse=True)
    size = (values["longest_side"], round(values["longest_side"] * narrow / wide))
    count = values["densification"]["max_gaussians"]
    return trainings.core_seconds(config, size, count, 0.0, gpu=False)


@pytest.mark.parametrize("size", [(4000, 3000), (3000, 4000), (6000, 4000), (1920, 1080)])
def test_a_training_takes_what_its_quality_says_on_two_cores(size: tuple[int, int]) -> None:
    facts = replace(PHONE, width=size[0], height=size[1])
    assert 15 * 60 < seconds("standard", facts) / 1.75 < 22 * 60
    assert 1.5 * 60 < seconds("draft", facts) / 1.75 < 3 * 60


def test_more_cores_train_more_and_no_machine_trains_much_longer() -> None:
    times = [seconds("standard", replace(PHONE, cores=n)) / min(n, 4) for n in (1, 2, 4, 64)]
    assert times[2] == times[3]  # one training uses four
    assert max(times) < 1.3 * min(times)
    work = [budget("standard", replace(PHONE, cores=n)).sections["train"] for n in (1, 2, 4)]
    assert work[0]["iterations"] < work[1]["iterations"] < work[2]["iterations"]
    assert work[0]["longest_side"] < work[1]["longest_side"] < work[2]["longest_side"]


def test_a_gpu_trains_as_long_as_the_paper_and_no_more_gaussians_than_fit() -> None:
    large = budget("standard", replace(PHONE, gpu_gb=24.0)).sections["train"]
    assert large["iterations"] == 30_000
    assert large["longest_side"] > 1400
    small = budget("standard", replace(PHONE, gpu_gb=4.0)).sections["train"]
    assert small["densification"]["max_gaussians"] == 250_000  # beside its views, 1 GB
    assert small["densification"]["max_gaussians"] < large["densification"]["max_gaussians"]


@pytest.mark.parametrize("gpu_gb", [3.0, 4.0, 6.0, 8.0, 12.0, 24.0, 80.0])
@pytest.mark.parametrize("quality", ["draft", "standard"])
def test_a_budget_fits_the_gpu_by_the_model_of_its_memory(quality: Any, gpu_gb: float) -> None:
    """With the Gaussians that IGD adds, PyTorch's own losses and a hundred objects."""
    from gradiseg_core.compute.placement import LossBackends
    from gradiseg_core.stages.training.memory import limit_of, memory_model

    values = budget(quality, replace(PHONE, gpu_gb=gpu_gb)).sections["train"]
    config = with_variant(TrainConfig.model_validate(values), "gradiseg_plus")
    pixels = round(values["longest_side"] ** 2 * 3 / 4)
    fused = memory_model(
        config, LossBackends("triton", "triton"), classes=100, pixels=pixels, views_bytes=10**12
    )
    limit = limit_of(config)
    assert limit is not None
    assert fused.peak(limit) < 0.95 * gpu_gb * 1e9


def with_gpus(folder: Path, sizes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a `nvidia-smi` that knows of GPUs of so many MiB into the path."""
    folder.mkdir()
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '{sizes}'\n")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")


def test_a_gpu_that_is_found_sets_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpus(tmp_path / "bin", "24576\\n8192\\n", monkeypatch)
    assert machine.gpu_bytes() == 8192 * 2**20  # any of them may be taken
    found = loaded(tmp_path, quality="standard")
    assert found.budgets["a"].facts.gpu_gb == 8.6
    assert (train(found).iterations, train(found).gpu_views_gb) == (30_000, 2.1)
    assert train(found).densification.max_gaussians == 1_000_000
    on_cpu = loaded(tmp_path, quality="standard", train={"device": "cpu"})
    assert on_cpu.budgets["a"].facts.gpu_gb is None
    assert train(on_cpu).iterations == 10_000
    scene = loaded(tmp_path, quality="standard", scene={"train": {"device": "cpu"}})
    assert train(scene).iterations == 10_000
    paper = loaded(tmp_path, quality="paper")
    assert not paper.budgets
    assert train(paper, "gradiseg") == TrainConfig()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert machine.gpu_bytes() is None


def test_a_gpu_that_does_not_answer_sets_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpus(tmp_path / "bin", "[N/A]\\n", monkeypatch)
    assert machine.gpu_bytes() is None
    (tmp_path / "bin" / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    assert machine.gpu_bytes() is None


def test_images_are_not_enlarged_and_many_photographs_get_fewer_features() -> None:
    small = budget("standard", replace(PHONE, width=400, height=300))
    assert small.sections["train"]["longest_side"] == 400
    counts = [
        budget("standard", replace(PHONE, views=views)).sections["colmap"]["max_features"]
        for views in (40, 100, 300)
    ]
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == 3


def test_without_a_quality_nothing_changes(tmp_path: Path) -> None:
    plain, paper = loaded(tmp_path), loaded(tmp_path, quality="paper")
    assert plain.variants_of("a") == ("baseline", "igd", "la_knn", "gradiseg")
    assert not plain.budgets
    assert plain.trainings == paper.trainings
    assert train(plain, "gradiseg") == TrainConfig()


def test_standard_and_draft(tmp_path: Path) -> None:
    standard, draft = loaded(tmp_path, quality="standard"), loaded(tmp_path, quality="draft")
    for settings in (standard, draft):
        assert settings.variants_of("a") == ("gradiseg_plus",)
        assert train(settings).num_classes == "auto"
        assert train(settings).losses.robustness == 0.5  # the variant's own changes hold
    assert train(standard).iterations == 10_000
    assert train(draft).iterations == 3000
    assert standard.budgets["a"].facts.views == 9
    assert train(standard).longest_side == 400  # the photographs'


def test_what_the_user_writes_wins(tmp_path: Path) -> None:
    file = loaded(
        tmp_path,
        quality="standard",
        variants=["baseline", "gradiseg"],
        train={"iterations": 50, "densification": {"until": 9000}},
        colmap={"max_features": 999},
    )
    assert file.variants_of("a") == ("baseline", "gradiseg")
    assert train(file, "gradiseg").iterations == 50
    assert train(file, "gradiseg").densification.until == 9000
    assert train(file, "gradiseg").densification.max_gaussians == 60_000
    assert file.resolve("a", "colmap")["max_features"] == 999
    scene = {"quality": "draft", "train": {"longest_side": None}, "variants": ["igd"]}
    own = loaded(tmp_path, quality="standard", scene=scene)
    assert own.variants_of("a") == ("igd",)
    assert train(own, "igd").longest_side is None
    assert train(own, "igd").iterations == 3000
    mine = {"mine": {"train": {"downsample": 2.0}}}
    reduced = loaded(tmp_path, quality="draft", own_variants=mine, variants=["mine"])
    assert (train(reduced, "mine").downsample, train(reduced, "mine").longest_side) == (2.0, None)


def test_a_quality_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"quality: expected one of draft, standard, paper"):
        loaded(tmp_path, quality="best")


def test_a_budget_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = loaded(tmp_path, quality="standard")
    keep_budgets(first, tmp_path)
    keep_budgets(loaded(tmp_path, quality="draft"), tmp_path)
    monkeypatch.setattr(machine, "memory_bytes", lambda: 1_000_000_000)
    raw = {"quality": "standard", "scenes": {"a": {"path": "photos"}}}
    again = load(raw, tmp_path, budget_of=budget_maker(64))
    assert again.trainings == first.trainings
    keep_budgets(again, tmp_path)
    (tmp_path / "results" / "a" / "budget.json").unlink()
    anew = load(raw, tmp_path, budget_of=budget_maker(64))
    assert train(anew).iterations > train(first).iterations
    assert train(anew).densification.max_gaussians < 85_000  # of 1 GB


def test_a_damaged_file_of_a_budget_is_named(tmp_path: Path) -> None:
    keep(tmp_path, budget("draft", PHONE))
    assert kept(tmp_path, "draft") == budget("draft", PHONE)
    assert kept(tmp_path, "standard") is None
    (tmp_path / "budget.json").write_text(json.dumps({"draft": {"facts": {}}}))
    with pytest.raises(InputError, match=r"budget.json is damaged .*remove it"):
        kept(tmp_path, "draft")


def test_photographs_are_counted_and_measured_upright(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "photos", 3)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (500, 400)).save(folder / "turned.jpg", exif=turned)
    (folder / "damaged.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not one either")
    found = photographs_of(SceneConfig(source="folder", path=folder))
    assert (found.count, found.size) == (5, (400, 500))
    assert found.bytes == sum(p.stat().st_size for p in folder.iterdir() if p.suffix != ".txt")


def test_cores_and_memory_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(16)))
    assert machine.cores() == 16
    (tmp_path / "cpu.max").write_text("350000 100000\n")
    (tmp_path / "memory.max").write_text("123456789\n")
    assert machine.cores() == 3
    assert machine.memory_bytes() == 123456789
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.cores() == 16
    assert machine.memory_bytes() > 123456789


def test_frames_of_a_video_by_quality(tmp_path: Path) -> None:
    def frames(**keys: Any) -> int:
        return loaded(tmp_path, **keys).origin("a").frames

    assert (frames(quality="draft"), frames(quality="standard"), frames()) == (60, 120, 120)
    assert frames(quality="draft", scene={"frames": 120}) == 120
    assert frames(quality="standard", scene={"quality": "draft"}) == 60


def test_a_video_is_as_many_photographs_as_frames_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "clip.MP4"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 96, 64
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8), format="rgb24")
        for _ in range(60):
            frame.pts = None
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    found = photographs_of(SceneConfig(source="folder", path=path, frames=50))
    assert (found.count, found.size) == (50, (96, 64))
    assert photographs_of(SceneConfig(source="folder", path=path)).count == 60
    path.write_bytes(b"no video")
    assert photographs_of(SceneConfig(source="folder", path=path)).size is None
