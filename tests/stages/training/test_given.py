"""Identities on Gaussians of another trainer: `train.init_from`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from gradiseg_core.cameras import Frame
from gradiseg_core.config.root import load
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.editing.labels import most_probable
from gradiseg_core.editing.transforms import transformed
from gradiseg_core.errors import ConfigError, InputError
from gradiseg_core.files.trained import load_trained, read_ply, write_ply
from gradiseg_core.splatting.trainer import Trainer
from gradiseg_core.stages.training.data import load_training_data
from gradiseg_core.stages.training.given import check_looks, load_given
from gradiseg_core.stages.training.stage import Training, train
from tests import synthetic, trained_scene

LEARNING = {"identities": 0.02, "classifier": 0.02}
NAMES = ("means", "quats", "scales", "opacities", "sh0", "shN")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> trained_scene.Folders:
    return trained_scene.make(tmp_path_factory.mktemp("results") / "balls")


@pytest.fixture(scope="module")
def ply(folders: trained_scene.Folders) -> Path:
    """The scene's own Gaussians, whose colours depend on the direction of sight."""
    values = read_ply(folders.train / "point_cloud.ply")
    generator = torch.Generator().manual_seed(0)
    values["shN"][:, :8] = 0.05 * torch.randn(len(values["means"]), 8, 3, generator=generator)
    path = folders.train.parent / "given" / "splats.ply"
    write_ply(path, values)
    return path


def config(ply: Path, **keys) -> TrainConfig:
    defaults = {
        "iterations": 60,
        "num_classes": trained_scene.NUM_CLASSES,
        "log_every": 20,
        "evaluations": 0,
    }
    return TrainConfig(**{**defaults, "init_from": ply, "device": "cpu", **keys})


def trainer(folders: trained_scene.Folders, settings: TrainConfig) -> Trainer:
    data = load_training_data(folders.scene, folders.colmap, folders.tracking, settings)
    return Trainer(data, settings, seed=0)


def test_geometry_is_held_and_identities_are_learned(
    folders: trained_scene.Folders, ply: Path, tmp_path: Path
) -> None:
    """With all that would change Gaussians switched on: densification, IGD, opacity resets."""
    settings = config(ply, iterations=100, learning_rates=LEARNING)
    job = Training(
        scene_dir=folders.scene,
        colmap_dir=folders.colmap,
        tracking_dir=folders.tracking,
        checkpoint_dir=tmp_path / "work",
        config=settings,
        variant="gradiseg",
        seed=0,
        threads=1,
    )
    train(job, tmp_path / "train")
    trained, given = load_trained(tmp_path / "train"), read_ply(ply)
    for name in NAMES:
        if name == "quats":
            torch.testing.assert_close(trained.quats, given["quats"])
        else:
            assert torch.equal(getattr(trained, name), given[name]), name
    assert trained.metadata["sh_degree"] == 3
    assert trained.metadata["num_gaussians"] == len(given["means"])
    _, owner = synthetic.balls()
    ids = most_probable(trained)[0].numpy()
    assert (ids == trained_scene.TRACKED[owner]).mean() > 0.9
    lines = (tmp_path / "train" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert {record["num_gaussians"] for record in records} == {len(given["means"])}
    assert records[-1]["identity_loss"] < 0.5 * records[0]["identity_loss"]


def test_a_degree_of_its_own(folders: trained_scene.Folders, ply: Path) -> None:
    """Harmonics are used from the first iteration, whatever `train.sh_degree` says."""
    assert trainer(folders, config(ply, sh_degree=0)).sh_degree == 3


def test_other_gaussians_are_no_checkpoint_of_these(
    folders: trained_scene.Folders, ply: Path, tmp_path: Path
) -> None:
    values = read_ply(ply)
    values["sh0"][7, 0, 1] += 0.1
    write_ply(tmp_path / "other.ply", values)
    marks = {
        load_training_data(
            folders.scene, folders.colmap, folders.tracking, config(path)
        ).fingerprint()
        for path in (ply, tmp_path / "other.ply", ply)
    }
    assert len(marks) == 2


ROTATION = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])


@pytest.fixture
def nerfstudio(ply: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The same Gaussians as nerfstudio has them: x' = 0.4 (R x + t)."""
    shift = np.array([0.5, -1.0, 2.0])
    values = transformed(read_ply(ply), rotation=ROTATION, scale=0.4, shift=0.4 * shift)
    write_ply(tmp_path / "ns.ply", values)
    transform = {"transform": np.c_[ROTATION, shift].tolist(), "scale": 0.4}
    (tmp_path / "dataparser_transforms.json").write_text(json.dumps(transform))
    return tmp_path / "ns.ply", tmp_path / "dataparser_transforms.json"


def test_nerfstudio_is_led_back(
    folders: trained_scene.Folders, ply: Path, nerfstudio: tuple[Path, Path]
) -> None:
    path, transform = nerfstudio
    settings = config(path, init_transform=transform)
    values, given = load_given(settings, Frame()).values, read_ply(ply)
    for name in ("means", "scales", "opacities", "sh0", "shN"):
        torch.testing.assert_close(values[name], given[name], atol=2e-6, rtol=1e-5)
    turns = (values["quats"] * given["quats"]).sum(dim=1).abs()
    torch.testing.assert_close(turns, torch.ones(len(turns)))
    check_looks(trainer(folders, settings), path)


def test_gaussians_that_are_elsewhere_are_refused(
    folders: trained_scene.Folders, nerfstudio: tuple[Path, Path]
) -> None:
    path, _ = nerfstudio
    with pytest.raises(InputError, match=r"does not look like the photographs.*init_transform"):
        check_looks(trainer(folders, config(path)), path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"element", b"comment Generated by Nerfstudio\nelement", 1))
    with pytest.raises(InputError, match=r"written by nerfstudio.*train\.init_transform"):
        load_given(config(path), Frame())


def test_a_world_in_other_units(ply: Path) -> None:
    frame = Frame(scale=4.0, offset=(1.0, -2.0, 8.0))
    given, moved = load_given(config(ply), Frame()).values, load_given(config(ply), frame).values
    expected = frame.points(given["means"].double().numpy())
    np.testing.assert_allclose(moved["means"], expected, atol=1e-5)
    torch.testing.assert_close(moved["scales"], given["scales"] + np.log(4.0))
    assert torch.equal(moved["shN"], given["shN"])


def test_a_transform_needs_gaussians(ply: Path) -> None:
    with pytest.raises(ValidationError, match="init_transform needs init_from"):
        TrainConfig(init_transform=ply)


def test_a_file_that_is_missing_is_named_before_any_job(tmp_path: Path) -> None:
    scene = {"source": "demo"}
    for raw in (
        {"scenes": {"a": scene}, "train": {"init_from": "no.ply"}},
        {
            "scenes": {"a": scene},
            "variants": ["mine"],
            "own_variants": {"mine": {"train": {"init_from": "no.ply"}}},
        },
    ):
        with pytest.raises(ConfigError, match=r"train\.init_from.*no\.ply"):
            load(raw, tmp_path)
