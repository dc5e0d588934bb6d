"""Training on a small scene: it learns, it resumes bit for bit, and it names what is wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL.PngImagePlugin import PngImageFile
from safetensors.torch import load_file

from gradiseg_core.config.parts import Densification
from gradiseg_core.config.root import load
from gradiseg_core.config.train import Losses, TrainConfig
from gradiseg_core.config.variants import with_variant
from gradiseg_core.errors import GradisegError, InputError
from gradiseg_core.files.id_maps import read_id_map, write_id_map
from gradiseg_core.files.ignore import write_ignored
from gradiseg_core.files.images import read_image, write_image
from gradiseg_core.files.trained import load_trained, save_run
from gradiseg_core.files.work_files import NOTE, noted_iteration
from gradiseg_core.splatting.losses import identity
from gradiseg_core.splatting.trainer import Trainer
from gradiseg_core.stages.training.data import load_training_data
from gradiseg_core.stages.training.progress import CHECKPOINT, load_checkpoint, stop_asked
from gradiseg_core.stages.training.stage import Training, train
from tests.synthetic import write_scene

CONFIG = TrainConfig(
    iterations=120,
    num_classes="auto",
    losses=Losses(samples=100),
    checkpoint_every=20,
    log_every=10,
    evaluations=2,
    densification=Densification(max_gaussians=900),
)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return write_scene(tmp_path_factory.mktemp("balls"))


def run(scene: tuple[Path, Path, Path], out: Path, work: Path, **options: object) -> None:
    arguments = {"config": CONFIG, "variant": "gradiseg", "seed": 3, "threads": 1} | options
    train(Training(*scene, checkpoint_dir=work, **arguments), out)  # type: ignore[arg-type]


def test_all_outputs_are_written(scene: tuple[Path, Path, Path], tmp_path: Path) -> None:
    run(scene, tmp_path / "out", tmp_path / "work")
    trained = load_trained(tmp_path / "out")
    assert trained.metadata["num_classes"] == 4
    assert trained.metadata["num_gaussians"] == len(trained.means)
    lines = (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [r["iteration"] for r in records] == list(range(10, 121, 10))
    assert records[-1]["eval_psnr"] > 18.0
    assert records[-1]["identity_loss"] < 0.75 * records[0]["identity_loss"]
    assert records[-1]["spatial_loss"] is not None
    assert json.loads((tmp_path / "out" / "config.json").read_text())["train"]["iterations"] == 120
    assert json.loads((tmp_path / "out" / "versions.json").read_text())["torch"]
    assert list((tmp_path / "out" / "tensorboard").iterdir())
    assert not (tmp_path / "work" / CHECKPOINT).exists()


def test_a_run_states_what_was_written_and_what_it_uses(
    scene: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    written = {
        "iterations": 2,
        "num_classes": "auto",
        "igd": {"quantile": 0.5, "until": 14_000},
        "la_knn": {"candidates": 8},
        "losses": {"beta": 1.5},
    }
    settings = load(
        {
            "scenes": {"balls": {"path": "photos"}},
            "train": written,
            "variants": ["baseline", "igd", "mine"],
            "own_variants": {"mine": {"train": {"igd": None, "la_knn": {"direction": "last"}}}},
        },
        tmp_path,
    )
    stated = {}
    for variant in settings.root.variants:
        config = TrainConfig(**settings.resolve("balls", "train", variant))
        run(scene, tmp_path / variant, tmp_path / "work", config=config, variant=variant)
        found = json.loads((tmp_path / variant / "config.json").read_text())
        assert found["variant"] == variant
        stated[variant] = found["train"]
        assert stated[variant]["losses"]["beta"] == 1.5
    assert stated["baseline"]["igd"] is None
    assert stated["baseline"]["la_knn"] is None
    assert stated["mine"]["igd"] is None
    assert stated["baseline"]["densification"]["until"] == 10_000
    igd = stated["igd"]["igd"]
    assert (igd["quantile"], igd["start"], igd["until"]) == (0.5, 12_000, 14_000)
    assert stated["igd"]["la_knn"] is None
    assert stated["igd"]["densification"]["until"] == 12_000
    la_knn = stated["mine"]["la_knn"]
    assert (la_knn["candidates"], la_knn["direction"]) == (8, "last")


def test_saving_leaves_the_trainer_as_it_was(
    scene: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Module.cpu` moves a module in place: only a copy of the classifier may be moved."""
    trainer = Trainer(load_training_data(*scene, CONFIG), CONFIG, 0)
    moved = []
    monkeypatch.setattr(type(trainer.classifier), "cpu", lambda self: moved.append(self) or self)
    save_run(trainer, tmp_path / "out", "gradiseg")
    assert len(moved) == 1
    assert moved[0] is not trainer.classifier
    saved = load_file(tmp_path / "out" / "identities.safetensors")
    assert torch.equal(saved["classifier.weight"], trainer.classifier.weight)


def test_what_does_not_change_results_does_not_end_a_resumed_run() -> None:
    def changes(**values: object) -> bool:
        other = TrainConfig.model_validate(CONFIG.model_dump(mode="json") | values)
        return other.digest(0, "") != CONFIG.digest(0, "")

    assert not changes(log_every=7, evaluations=1, checkpoint_every=9, device="cpu")
    assert not changes(gsplat={"packed": True}, views_gb=1.0, gpu_views_gb=1.0)
    assert not changes(labels="probabilities")
    assert changes(iterations=121)
    assert changes(igd=None)
    assert changes(losses={"beta": 1.0})
    assert CONFIG.digest(1, "") != CONFIG.digest(0, "") != CONFIG.digest(0, "a")
    kept = CONFIG.changing_results()
    assert kept["losses"] == CONFIG.losses.model_dump(mode="json")
    assert kept.keys() < CONFIG.model_dump().keys()


def test_variants_differ_in_what_they_run(scene: tuple[Path, Path, Path]) -> None:
    data = load_training_data(*scene, CONFIG)
    variants = ("baseline", "igd", "la_knn", "gradiseg")
    trainers = {v: Trainer(data, with_variant(CONFIG, v), 0) for v in variants}
    assert {v for v, t in trainers.items() if "igd" in t.strategies} == {"igd", "gradiseg"}
    assert {v for v, t in trainers.items() if t.terms["spatial"].adaptive}  # type: ignore[attr-defined] == {"la_knn", "gradiseg"}
    until = {v: t.strategies["densification"].config.until for v, t in trainers.items()}  # type: ignore[attr-defined]
    assert until == {"baseline": 10_000, "igd": 12_000, "la_knn": 12_000, "gradiseg": 12_000}


def test_black_test_views_have_no_psnr(scene: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """A rendering of little is close to black, and 50 dB there are no quality."""
    data = load_training_data(*scene, CONFIG)
    stems = [view.camera.stem for view in data.test]
    usual = Trainer(data, CONFIG, 0).evaluate()
    assert usual is not None
    colmap = tmp_path / "colmap"
    shutil.copytree(scene[1], colmap)
    for count, stem in enumerate(stems, start=1):
        path = colmap / "images" / f"{stem}.png"
        write_image(path, np.zeros_like(read_image(path)))
        darker = load_training_data(scene[0], colmap, scene[2], CONFIG)
        found = Trainer(darker, CONFIG, 0).evaluate()
        if count == len(stems):
            assert found is None
        else:
            assert found == pytest.approx(usual, abs=3.0)


def test_resumed_in_process_is_bit_equal(scene: tuple[Path, Path, Path]) -> None:
    data = load_training_data(*scene, CONFIG)
    whole = Trainer(data, CONFIG, 1)
    first = Trainer(data, CONFIG, 1)
    for trainer, steps in ((whole, 120), (first, 57)):
        for _ in range(steps):
            trainer.iterate()
    second = Trainer(data, CONFIG, 99)
    second.load_state_dict(first.state_dict())
    for _ in range(120 - 57):
        second.iterate()
    for name, value in whole.gaussians.params.items():
        assert torch.equal(value, second.gaussians.params[name]), name
    assert torch.equal(whole.classifier.weight, second.classifier.weight)


def test_killed_run_ends_with_the_same_result(
    scene: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    run(scene, tmp_path / "whole", tmp_path / "work_whole")
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.stages.training.test_training import run\n"
        "a = [Path(p) for p in sys.argv[1:]]; run(tuple(a[:3]), a[3], a[4])"
    )
    out, work = tmp_path / "out", tmp_path / "work"
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, (*scene, out, work))],
        cwd=Path(__file__).parents[3],
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not (work / CHECKPOINT).exists():
        assert process.poll() is None, "the run ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "point_cloud.ply").exists()
    run(scene, out, work)
    for name in ("identities.safetensors",):
        expected, got = (load_file(str(folder / name)) for folder in (tmp_path / "whole", out))
        assert all(torch.equal(expected[key], got[key]) for key in expected)
    assert (out / "point_cloud.ply").read_bytes() == (
        tmp_path / "whole" / "point_cloud.ply"
    ).read_bytes()
    iterations = [
        json.loads(line)["iteration"] for line in (out / "metrics.jsonl").read_text().splitlines()
    ]
    assert iterations == list(range(10, 121, 10))


def test_a_run_that_is_asked_to_stop_keeps_what_it_did(
    scene: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(scene, tmp_path / "whole", tmp_path / "work_whole")
    iterate = Trainer.iterate

    def asked(self: Trainer) -> Any:
        if self.step == 36:  # the 37th iteration is finished
            os.kill(os.getpid(), signal.SIGINT)
        return iterate(self)

    out, work = tmp_path / "out", tmp_path / "work"
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(Trainer, "iterate", asked)
    with pytest.raises(KeyboardInterrupt, match="stopped at iteration 37 of 120; the next run"):
        run(scene, out, work)
    assert signal.getsignal(signal.SIGINT) is before
    assert noted_iteration(work, CONFIG.digest(3)) == 37
    assert noted_iteration(work, CONFIG.digest(4)) == 0
    monkeypatch.setattr(Trainer, "iterate", iterate)
    run(scene, out, work)
    assert not (work / NOTE).exists()
    whole = (tmp_path / "whole" / "point_cloud.ply").read_bytes()
    assert (out / "point_cloud.ply").read_bytes() == whole


def test_asked_twice_it_stops_at_once() -> None:
    with stop_asked() as asked:
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked.wait(5)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_checkpoint_of_other_settings_or_a_torn_one_is_not_resumed(tmp_path: Path) -> None:
    from gradiseg_core.stages.training.progress import save_checkpoint

    save_checkpoint(tmp_path, {"fingerprint": "a", "trainer": {}})
    assert load_checkpoint(tmp_path, "a") is not None
    assert load_checkpoint(tmp_path, "b") is None
    content = (tmp_path / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(content[: len(content) // 2])
    assert load_checkpoint(tmp_path, "a") is None


def test_schedule_changes_the_number_of_gaussians(scene: tuple[Path, Path, Path]) -> None:
    config = CONFIG.model_copy(
        update={"densification": Densification(grow_grad2d=1e-7, every=3000)}
    )
    data = load_training_data(*scene, config)
    trainer = Trainer(data, with_variant(config, "baseline"), 0)
    counts = []
    for _ in range(60):
        trainer.iterate()
        counts.append(len(trainer.gaussians))
    assert counts[1] == counts[0]  # densification starts after 500 / 30,000 of the run
    assert max(counts) > counts[0]
    assert counts[39] == counts[59]  # and ends at a third of it


def test_id_beyond_the_classifier_is_an_error(tmp_path: Path) -> None:
    scene = write_scene(tmp_path, views=4)
    with pytest.raises(InputError, match=r"ID 3, but the classifier has 3 classes"):
        load_training_data(*scene, TrainConfig(num_classes=3))


def test_labels_are_checked_once_and_not_in_every_iteration(
    scene: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_training_data(*scene, CONFIG)
    trainer = Trainer(data, with_variant(CONFIG, "baseline"), 0)
    looked: list[int] = []
    monkeypatch.setattr(identity, "_check_range", lambda ids, _: looked.append(ids.numel()))
    trainer.iterate()
    assert not looked
    view = data.train[0]
    features = torch.zeros(*view.labels.shape, trainer.classifier.dim)
    identity.identity_loss(features, view.labels, trainer.classifier)
    assert looked == [view.labels.numel()]  # others' labels are


def test_mask_of_another_shape_is_named(tmp_path: Path) -> None:
    scene = write_scene(tmp_path, views=4)
    write_id_map(scene[2] / "ids" / "view_002.png", np.zeros((48, 50), dtype=int))
    with pytest.raises(InputError, match=r"view_002\.png is 50 x 48 px"):
        load_training_data(*scene, CONFIG)


def test_every_picture_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = write_scene(tmp_path, views=4)
    decoded: list[Path] = []
    load = PngImageFile.load

    def counted(file: PngImageFile) -> object:
        if file.fp is not None:  # not decoded yet
            decoded.append(Path(file.filename))
        return load(file)

    monkeypatch.setattr(PngImageFile, "load", counted)
    data = load_training_data(*scene, CONFIG.model_copy(update={"longest_side": 20}))
    assert len(data.train) + len(data.test) == 4
    assert sorted(decoded) == sorted(set(decoded))
    assert len([path for path in decoded if path.parent.name == "ids"]) == len(data.train)


def test_diverging_loss_says_where(scene: tuple[Path, Path, Path]) -> None:
    trainer = Trainer(load_training_data(*scene, CONFIG), with_variant(CONFIG, "baseline"), 0)
    with torch.no_grad():
        trainer.classifier.weight.fill_(float("nan"))
    with pytest.raises(GradisegError, match=r"nan at iteration 1 on view_\d+\.png"):
        trainer.iterate()


def test_robustness_begins_at_its_start(scene: tuple[Path, Path, Path]) -> None:
    start = 15_000  # of 30,000: half of this run
    losses = CONFIG.losses.model_copy(update={"robustness": 0.7, "robust_start": start})
    robust = CONFIG.model_copy(update={"iterations": 20, "losses": losses})
    plain = CONFIG.model_copy(update={"iterations": 20})
    history = []
    for config in (plain, robust):
        trainer = Trainer(load_training_data(*scene, config), with_variant(config, "baseline"), 0)
        history.append([float(trainer.iterate()["identity_loss"] or 0.0) for _ in range(12)])
    assert history[0][:10] == history[1][:10]
    assert history[1][10] < 0.9 * history[0][10]  # weighted by p^0.7 < 1


def test_the_geometry_is_held_until_its_start(scene: tuple[Path, Path, Path]) -> None:
    def run(**options: float) -> list[torch.Tensor]:
        losses = CONFIG.losses.model_copy(update=options)
        config = CONFIG.model_copy(update={"iterations": 20, "losses": losses})
        trainer = Trainer(load_training_data(*scene, config), with_variant(config, "baseline"), 0)
        means = []
        for _ in range(12):
            trainer.iterate()
            means.append(trainer.gaussians.params["means"].detach().clone())
        return means

    held = run(identity_geometry_start=60_000)
    begun = run(identity_geometry_start=15_000)  # after 10 of 20
    moved = run()
    assert all(torch.equal(a, b) for a, b in zip(held[:10], begun[:10], strict=True))
    assert not torch.equal(held[10], begun[10])
    assert not torch.equal(moved[0], begun[0])


@pytest.mark.parametrize("blended", ["encodings", "probabilities"])
def test_geometry_that_is_held_moves_by_colour_alone(
    scene: tuple[Path, Path, Path], blended: str
) -> None:
    """The gradients of the encodings do not change."""

    def gradients(start: int, alpha: float = 1.0) -> tuple[dict[str, torch.Tensor], float]:
        update = {
            "identity_geometry_start": start, "beta": 0.0, "alpha": alpha, "blended": blended,
        }  # fmt: skip
        losses = CONFIG.losses.model_copy(update=update)
        config = CONFIG.model_copy(update={"losses": losses})
        trainer = Trainer(load_training_data(*scene, config), with_variant(config, "baseline"), 0)
        kept: dict[str, torch.Tensor] = {}

        def keep(*arguments: object, **options: object) -> None:
            kept.update({n: p.grad.clone() for n, p in trainer.gaussians.params.items()})

        trainer.gaussians.optimizer.register_step_pre_hook(keep)
        return kept, float(trainer.iterate()["identity_loss"])

    whole, held, colour = gradients(0), gradients(60_000), gradients(0, alpha=0.0)
    assert held[1] == pytest.approx(whole[1], rel=1e-5)
    torch.testing.assert_close(held[0]["identities"], whole[0]["identities"], rtol=1e-4, atol=1e-9)
    for name in ("means", "scales", "opacities"):
        assert not torch.allclose(whole[0][name], colour[0][name], rtol=1e-2)
        torch.testing.assert_close(held[0][name], colour[0][name], rtol=2e-3, atol=1e-7)


def test_blended_probabilities_are_learned_and_do_not_depend_on_groups(
    scene: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = CONFIG.losses.model_copy(update={"blended": "probabilities"})
    rates = CONFIG.learning_rates.model_copy(update={"identities": 0.05, "classifier": 0.01})
    config = CONFIG.model_copy(
        update={"iterations": 40, "losses": losses, "num_classes": 60, "learning_rates": rates}
    )

    def run(steps: int) -> tuple[list[float], Trainer]:
        trainer = Trainer(load_training_data(*scene, config), config, 0)
        return [float(trainer.iterate()["identity_loss"]) for _ in range(steps)], trainer

    history, trainer = run(40)
    assert sum(history[-5:]) < 0.5 * sum(history[:5])
    view = trainer.prefetcher.get(0)
    assert view.ids is not None
    assert view.ids.tolist() == sorted(set(view.labels.flatten().tolist()))
    # The same with one ID a group.
    monkeypatch.setattr("gradiseg_core.splatting.losses.blended.GROUP", 1)
    assert run(5)[0] == pytest.approx(history[:5], rel=1e-4)


def test_what_is_ignored_changes_nothing(scene: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """Trainings from photographs that differ only where they are ignored are equal, bit for bit."""
    trained = []
    for content in (0, 255):
        folders = []
        for folder in scene:
            copy = tmp_path / str(content) / folder.name
            shutil.copytree(folder, copy)
            folders.append(copy)
        scene_dir, colmap_dir, tracking_dir = folders
        for path in sorted((colmap_dir / "images").iterdir())[::2]:
            image = read_image(path).copy()
            ignored = np.zeros(image.shape[:2], bool)
            ignored[10:30, 20:40] = True
            image[ignored] = content
            write_image(path, image)
            write_ignored(colmap_dir, path.stem, ignored)
            ids = tracking_dir / "ids" / f"{path.stem}.png"
            if ids.is_file():
                write_id_map(ids, np.where(ignored, 0, read_id_map(ids)))
        config = CONFIG.model_copy(update={"iterations": 40})
        out = tmp_path / f"out{content}"
        run((scene_dir, colmap_dir, tracking_dir), out, tmp_path / "work", config=config)
        log = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        scores = [line["eval_psnr"] for line in log if "eval_psnr" in line]
        trained.append((load_trained(out), scores))
    (first, scores), (second, others) = trained
    assert torch.equal(first.means, second.means)
    assert torch.equal(first.identities, second.identities)
    assert torch.equal(first.sh0, second.sh0)
    assert scores == others
