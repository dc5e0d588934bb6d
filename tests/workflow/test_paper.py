"""The paper's experiments: the shipped configurations, and one of them run on toy scenes.

The run takes config/paper.yaml as it is, and a second file that puts toy scenes in the datasets'
layouts and tiny models with random weights in the place of what cannot be had here.
"""

from __future__ import annotations

import copy
import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from gradiseg_core.config.paper import FIGURE, FILES
from gradiseg_core.config.paper_plan import paper_plan
from gradiseg_core.config.root import Settings, load
from tests import paper_scenes, tiny_grounding_dino, tiny_sam
from tests.workflow.conftest import REPOSITORY, Workflow

LERF = ("figurines", "ramen", "teatime")
OURS = "GradiSeg (IGD + LA-KNN)"
PARTS = ("paper_lerf_mask", "paper_mipnerf360", "paper_igd_start")


def shipped(name: str) -> Settings:
    return load(yaml.safe_load((REPOSITORY / "config" / f"{name}.yaml").read_text()), REPOSITORY)


@pytest.mark.parametrize(
    ("name", "trainings", "datasets"),
    [
        ("paper", 3 * 9 + 9 * 2, 12),
        ("paper_lerf_mask", 3 * 4, 3),
        ("paper_mipnerf360", 9 * 2, 9),
        ("paper_igd_start", 3 * 7, 3),
    ],
)
def test_a_shipped_configuration_plans_its_experiment(
    workflow: Workflow, name: str, trainings: int, datasets: int
) -> None:
    """Without network, weights or a GPU: a dry run in an empty folder."""
    config = REPOSITORY / "config" / f"{name}.yaml"
    planned = workflow.planned("--configfile", str(config))
    assert planned["train"] == planned["render"] == planned["metrics"] == trainings
    assert planned["dataset"] == planned["scene"] == planned["tracking"] == datasets
    assert planned["paper_tables"] == 1
    text = name in ("paper", "paper_lerf_mask")
    assert planned.get("metrics_2d", 0) == (3 if text else 0)
    assert planned.get("second_metrics", 0) == {"paper": 27, "paper_lerf_mask": 12}.get(name, 0)
    # SAM and VGG, DEVA; Grounding DINO is asked for by prompts alone.
    assert planned["checkpoint"] == 3
    assert planned.get("checkpoint_folder", 0) == (0 if name == "paper_mipnerf360" else 1)


@pytest.mark.parametrize("part", PARTS)
def test_an_experiment_of_its_own_shares_its_results_with_the_whole(part: str) -> None:
    whole, single = shipped("paper"), shipped(part)
    assert single.root.results == whole.root.results
    assert single.root.preparation_seed == whole.root.preparation_seed
    for scene in single.scenes:
        assert set(single.variants_of(scene)) <= set(whole.variants_of(scene))
        assert single.seeds_of(scene) == whole.seeds_of(scene)
        for stage in single.used_sections(scene):
            assert single.resolve(scene, stage) == whole.resolve(scene, stage), (scene, stage)
        for variant in single.variants_of(scene):
            one, other = (s.resolve(scene, "train", variant) for s in (single, whole))
            assert one == other


def test_the_shipped_configuration_is_the_papers() -> None:
    settings = shipped("paper")
    plan = paper_plan(settings)
    assert len(plan.scenes) == 12
    for scene in LERF:
        assert sorted(plan.starts[scene].values()) == [3000, 6000, 9000, 12000, 15000, 18000]
        for variant, start in plan.starts[scene].items():
            igd = settings.trainings[scene][variant].igd
            assert (igd.start, igd.until) == (start, start + 3000)
        assert settings.resolve(scene, "tracking")["options"]["sam"]["model"] == "vit_h"
        assert settings.resolve(scene, "tracking_2d")["backend"] == "deva"
        assert settings.resolve(scene, "grounding")["backend"] == "groundingdino"
        assert settings.resolve(scene, "second_grounding")["backend"] == "manual"
        train = settings.resolve(scene, "train", "gradiseg")
        assert (train["iterations"], train["num_classes"]) == (30_000, 256)
    assert set(plan.factors.values()) == {8}
    assert len(plan.factors) == 9


def test_the_target_stands_for_any_configuration(workflow: Workflow) -> None:
    assert workflow.planned("paper_tables", "--forcerun", "paper_tables") == {"paper_tables": 1}
    assert "paper_tables" not in workflow.planned("--forceall")


def test_own_folders_go_over_the_shipped_file(workflow: Workflow) -> None:
    """A user with figurines alone, offline: the other scenes are left out, and named."""
    paper_scenes.lerf_mask(workflow.folder / "mine", paper_scenes.FIGURINES)
    for name in ("deva.pth", "sam.pth", "vgg.pth", "dino"):
        (workflow.folder / name).touch()
    own = {
        "downloads": {"offline": True},
        "scenes": {"figurines": {"dataset": None, "path": "mine"}},
        "tracking": {"deva": {"checkpoint": "deva.pth", "sam": {"checkpoint": "sam.pth"}}},
        "grounding": {"groundingdino": {"checkpoint": "dino", "sam": {"checkpoint": "sam.pth"}}},
        "metrics": {"lpips_weights": "vgg.pth"},
    }
    (workflow.folder / "mine.yaml").write_text(yaml.safe_dump(own))
    files = (str(REPOSITORY / "config" / "paper_lerf_mask.yaml"), "mine.yaml")
    planned = workflow.planned("paper_tables", "--configfile", *files)
    assert (planned["scene"], planned["train"], planned["second_metrics"]) == (1, 4, 4)
    assert not {"dataset", "checkpoint", "checkpoint_folder"} & set(planned)
    said = workflow.snakemake("--dry-run", "paper_tables", "--configfile", *files).stderr
    assert "scene ramen is left out: offline, and never fetched" in said


# --- a run ---

#: Comes before the installed package and hands it on, with the tiny architecture as vit_b.
SHIM = """\
import sys
from pathlib import Path

sys.path.remove(str(Path(__file__).parents[1]))
del sys.modules[__name__]
import segment_anything

from tests import tiny_sam

segment_anything.sam_model_registry["vit_b"] = lambda checkpoint=None: tiny_sam.build(seed=9)
sys.modules[__name__] = segment_anything
"""

DINO = {"model": "swint", "checkpoint": "dino", "sam": {"model": "vit_b", "checkpoint": "sam.pth"}}
OWN: dict[str, Any] = {
    "results": "results",
    "downloads": {"offline": True},
    "scenes": {
        "figurines": {
            "dataset": None,
            "path": "figurines",
            "variants": ["gradiseg", "igd_from_3000"],
            "tracking_2d": {"precomputed": {"folder": "figurines_ids"}},
            "grounding": {"backend": "colour_words", "colour_words": {"max_area_share": 0.4}},
        },
        "teatime": {
            "dataset": None,
            "path": "teatime",
            "variants": ["gradiseg"],
            "baseline_2d": False,
            "second_grounding": None,
        },
        "garden": {
            "dataset": None,
            "path": "garden",
            "variants": ["baseline"],
            "tracking": {"precomputed": {"folder": "garden_ids"}},
            "metrics": {"lpips_weights": "vgg.pth"},
        },
    },
    "tracking": {"backend": "precomputed", "precomputed": {"keep_ids": True}},
    "train": {
        "device": "cpu", "iterations": 150, "num_classes": 4, "evaluations": 0,
        "densification": {"max_gaussians": 1000},
        "learning_rates": {"classifier": 0.05, "identities": 0.05},
    },
    "render": {"device": "cpu"},
    "grounding": {
        "groundingdino": {**DINO, "box_threshold": 0.05, "shorter_side": 64, "longer_side": 96}
    },
    "metrics": {"lpips_weights": "cache"},
}  # fmt: skip


def snakemake(
    folder: Path, config: str, *arguments: str, own: str = "own.yaml"
) -> subprocess.CompletedProcess[str]:
    """Run the repository's workflow with a shipped configuration and a file of the folder."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")),
            *("--directory", str(folder), *arguments),
            *("--configfile", str(REPOSITORY / "config" / f"{config}.yaml"), str(folder / own)),
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{folder / 'shim'}:{REPOSITORY}"},
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )


def save_vgg(path: Path) -> None:
    """Write random weights in the form of torchvision's VGG-16, without its classifier."""
    import torch
    from torchvision.models.vgg import cfgs, make_layers

    torch.manual_seed(5)
    layers = make_layers(cfgs["D"]).state_dict()
    torch.save({f"features.{name}": value for name, value in layers.items()}, path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("segment_anything", reason="pip install -e '.[models]'")
    pytest.importorskip("transformers", reason="pip install -e '.[models]'")
    folder = tmp_path_factory.mktemp("paper")
    paper_scenes.lerf_mask(folder / "figurines", paper_scenes.FIGURINES)
    paper_scenes.lerf_mask(
        folder / "teatime", paper_scenes.TEATIME, views=12, annotated=(0, 2)
    )  # the published teatime has a test view without annotations as well
    paper_scenes.mipnerf360(folder / "garden")
    tiny_grounding_dino.save(folder / "dino")
    tiny_sam.save(folder / "sam.pth")
    save_vgg(folder / "vgg.pth")
    (folder / "shim" / "segment_anything").mkdir(parents=True)
    (folder / "shim" / "segment_anything" / "__init__.py").write_text(SHIM)
    (folder / "own.yaml").write_text(yaml.safe_dump(OWN))
    done = snakemake(folder, "paper", "paper_tables", "--cores", "2")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return folder


def rows(folder: Path, name: str) -> dict[tuple[str, str, str], str]:
    """(table, method, metric) -> mean of a CSV file."""
    with (folder / "results" / "paper_tables" / name).open() as file:
        return {(r["table"], r["method"], r["metric"]): r["mean"] for r in csv.DictReader(file)}


def score(folder: Path, run: str) -> dict[str, Any]:
    return json.loads((folder / "results" / run / "metrics.json").read_text())


@pytest.mark.slow
def test_tables_show_what_was_scored(folder: Path) -> None:
    two_d = "precomputed IDs (2D tracks, no Gaussians)"
    by_text = score(folder, "figurines/gradiseg/seed0/metrics")
    by_hand = score(folder, "figurines/gradiseg/seed0/second_metrics")
    tracks = score(folder, "figurines/tracks_2d/metrics")
    assert by_text["grounding"] == tracks["grounding"] == "colour_words"
    first, second = rows(folder, "table_1.csv"), rows(folder, "table_2.csv")
    for mode in ("gg", "strict"):
        for table, found, label, run in (
            ("1", first, OURS, by_text), ("1", first, two_d, tracks), ("2", second, OURS, by_hand),
        ):  # fmt: skip
            for metric, name in (("miou", "mIoU"), ("mbiou", "mBIoU")):
                shown = found[f"table-{table}-{mode}", label, f"figurines {name}"]
                value = run["masks"][mode][metric]
                assert shown == ("undefined" if value is None else f"{100 * value:.1f}")
    # Labels are learnt, so that the choice by hand finds the balls; words find those with a colour,
    # two of three, which the given IDs show exactly.
    assert by_hand["masks"]["strict"]["miou"] > 0.5
    assert by_text["masks"]["strict"]["miou"] > 0.3
    assert first["table-1-strict", two_d, "figurines mIoU"] == "66.7"
    minus = f"{OURS} minus GradiSeg as published"
    expected = 100 * by_hand["masks"]["gg"]["miou"] - 90.1
    assert float(second["table-2-gg", minus, "figurines mIoU"]) == pytest.approx(expected, abs=0.06)


@pytest.mark.slow
def test_the_tiny_text_model_searched_teatime(folder: Path) -> None:
    run = score(folder, "teatime/gradiseg/seed0/metrics")
    assert run["grounding"] == "groundingdino"
    selection = folder / "results" / "teatime" / "gradiseg" / "seed0" / "grounding"
    prompts = json.loads((selection / "selection.json").read_text())["prompts"]
    assert all(record["views"][0]["boxes_found"] > 0 for record in prompts.values())
    shown = rows(folder, "table_4.csv")["table-4-strict", OURS, "teatime mIoU"]
    assert shown == f"{100 * run['masks']['strict']['miou']:.1f}"
    text = (folder / "results" / "paper_tables" / "tables.md").read_text()
    assert "teatime: test views without annotations: view_004." in text
    assert "Published rows find their objects with Grounding DINO, ours do not." in text


@pytest.mark.slow
def test_table_3_has_lpips_in_both_ranges(folder: Path) -> None:
    run = score(folder, "garden/baseline/seed0/metrics")["summary"]
    shown = rows(folder, "table_3.csv")
    label = "garden: baseline (Gaussian Grouping)"
    for header, key, digits in (
        ("PSNR", "psnr", 2), ("SSIM", "ssim", 3), ("LPIPS on 0..1", "lpips_3dgs", 3),
        ("LPIPS on -1..1", "lpips_authors", 3),
    ):  # fmt: skip
        assert shown["table-3-scenes", label, header] == f"{run[key]:.{digits}f}"
    assert run["lpips_3dgs"] != run["lpips_authors"]
    assert shown["table-3", "baseline (Gaussian Grouping)", "PSNR"] == "missing"
    assert shown["table-3", "Gau-Group", "PSNR"] == "27.09"


@pytest.mark.slow
def test_absent_scenes_are_missing(folder: Path) -> None:
    shown = rows(folder, "table_1.csv")
    assert shown["table-1-gg", OURS, "ramen mIoU"] == "missing"
    text = (folder / "results" / "paper_tables" / "tables.md").read_text()
    assert "Missing: ramen (offline, and never fetched)." in text


@pytest.mark.slow
def test_the_sweep_is_a_table_and_a_plot(folder: Path) -> None:
    value = score(folder, "figurines/igd_from_3000/seed0/metrics")["masks"]["strict"]["miou"]
    shown = rows(folder, "figure_6.csv")
    assert shown["figure-6-strict", "IGD from 3,000", "figurines mIoU"] == f"{100 * value:.1f}"
    assert shown["figure-6-strict", "IGD from 12,000", "ramen mIoU"] == "missing"
    with Image.open(folder / "results" / "paper_tables" / FIGURE) as picture:
        assert picture.width > 3 * picture.height


@pytest.mark.slow
def test_a_single_experiment_finds_its_results_made(folder: Path) -> None:
    own = copy.deepcopy(OWN)
    del own["scenes"]["garden"]
    own["scenes"]["figurines"]["variants"] = ["gradiseg"]  # the sweep is not defined there
    (folder / "single.yaml").write_text(yaml.safe_dump(own))
    done = snakemake(folder, "paper_lerf_mask", "paper_tables", "--dry-run", own="single.yaml")
    assert done.returncode == 0, done.stderr
    planned = re.findall(r"^(\w+) +\d+$", done.stdout + done.stderr, flags=re.MULTILINE)
    assert set(planned) == {"paper_tables", "total"}


@pytest.mark.slow
def test_the_report_holds_every_table(folder: Path) -> None:
    done = snakemake(folder, "paper", "paper_tables", "--report", str(folder / "report.html"))
    assert done.returncode == 0, done.stderr[-3000:]
    html = (folder / "report.html").read_text(encoding="utf-8")
    for part in (*FILES.values(), FIGURE):
        assert part in html, part
