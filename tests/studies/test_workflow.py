"""The studies' workflow: what every study would run, and a tiny study from end to end."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradiseg_core import modules
from gradiseg_core.errors import ConfigError
from gradiseg_core.files.id_maps import read_id_map
from studies.options import split_config, tabletops_of
from tests.workflow.conftest import REPOSITORY

STUDIES = REPOSITORY / "studies"
CONFIGS = STUDIES / "config"


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the studies' workflow with all results below `folder`."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(STUDIES / "Snakefile")),
            *("--directory", str(folder), *arguments),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=560,
        check=False,
    )


def planned(folder: Path, target: str, *configs: str) -> dict[str, int]:
    """How many jobs of each rule a study would run."""
    files = [str(CONFIGS / f"{name}.yaml") for name in configs]
    done = snakemake(folder, target, "--dry-run", "--configfile", *files)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    table = re.search(r"Job stats:\n.*?\n-.*?\n(.*?)\ntotal", output, flags=re.DOTALL)
    assert table is not None, output
    counts = (line.split() for line in table[1].splitlines())
    return {rule: int(count) for rule, count in counts}


def test_the_method_makes_its_tables_once(tmp_path: Path) -> None:
    jobs = planned(tmp_path, "bench_method", "bench_method")
    assert (jobs["make_tabletop"], jobs["degrade_ids"]) == (6, 6)
    assert (jobs["scene"], jobs["colmap"], jobs["tracking"]) == (9, 9, 9)
    assert jobs["train"] == jobs["metrics"] == 189
    assert "masks" not in jobs


def test_removal_renders_what_it_compares_with_once(tmp_path: Path) -> None:
    jobs = planned(tmp_path, "removal", "removal")
    assert jobs["make_tabletop"] == jobs["degrade_ids"] == 3
    assert jobs["removal_truth"] == 3 * 4  # three things one at a time, and a swap
    assert jobs["train"] == jobs["removal_scores"] == 3 * 2 * 3 * 3
    assert "metrics" not in jobs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "configs", "tables", "masks", "branches"),
    [
        ("bench_branches", ["bench_masks"], 1, 12, 39),
        ("bench_branches", ["bench_method", "bench_near"], 6, 6, 21),
        ("bench_branches", ["bench_method", "bench_repaired"], 6, 6, 21),
        ("bench_branches", ["bench_neighbours"], 3, 3, 15),
        ("bench_branches", ["bench_options"], 2, 0, 6),
    ],
)
def test_studies_by_branches(
    tmp_path: Path, target: str, configs: list[str], tables: int, masks: int, branches: int
) -> None:
    jobs = planned(tmp_path, target, *configs)
    found = jobs["make_tabletop"], jobs.get("degrade_ids", 0), jobs["branches"]
    assert found == (tables, masks, branches)


def test_a_made_scene_with_exact_ids_is_scored_against_them(tmp_path: Path) -> None:
    jobs = planned(tmp_path, "study", "gpu_run")
    assert jobs["make_tabletop"] == jobs["association"] == jobs["masks"] == 1
    assert jobs["train"] == 4


@pytest.mark.slow
def test_unseen_tables_are_made_and_scored(tmp_path: Path) -> None:
    jobs = planned(tmp_path, "study", "objects")
    assert jobs["make_tabletop"] == jobs["association"] == 12
    assert jobs["train"] == jobs["metrics"] == 36


def test_every_configuration_is_tested() -> None:
    tested = set(re.findall(r'"((?:bench|gpu|objects|removal)\w*)"', Path(__file__).read_text()))
    own = {"made", "tabletop", "gpu_run_tabletop"}  # shared; scenes that are not made
    assert {path.stem for path in CONFIGS.glob("*.yaml")} - own <= tested


def test_a_jobs_code_is_what_it_runs() -> None:
    """Modules of the studies and of the core, and no pages that lie beside them."""
    script = STUDIES / "scripts" / "degraded.py"
    files = {path.relative_to(REPOSITORY) for path in modules.closure([script], packages=[STUDIES])}
    names = {path.as_posix() for path in files}
    assert {"studies/degraded.py", "studies/options.py", "gradiseg_core/files/id_maps.py"} <= names
    assert not {name for name in names if name.startswith("studies/tabletop/")}
    assert {path.suffix for path in files if path.parts[0] == "studies"} == {".py"}


def test_wrong_keys_are_named() -> None:
    raw = {"studies": {"tabletops": {"a": {"widht": 5}}}, "scenes": {}}
    with pytest.raises(ConfigError, match=r"studies\.tabletops\.a\.widht: .*'width'"):
        split_config(raw)
    raw = {"studies": {"tabletops": {"table": {}}, "degraded": {"a": {"of": "tabel"}}}}
    with pytest.raises(ConfigError, match=r"studies\.degraded\.a\.of: no tabletop .* 'table'"):
        split_config(raw)


def test_folders_of_studies_are_made() -> None:
    raw = {
        "studies": {"folder": "s", "tabletops": {"t": {}}, "degraded": {"d": {"of": "t"}}},
        "made": ["own"],
        "seeds": [1],
    }
    studies, config = split_config(raw)
    assert config == {"seeds": [1], "made": ["own", "s/tabletops/t", "s/degraded/d"]}
    paths = {"a": Path("s/tabletops/t"), "b": Path("photos"), "c": None}
    assert tabletops_of(studies, paths) == ["a"]


TINY = """\
results: out
studies:
  folder: made
  tabletops:
    tiny:
      {width: 96, height: 72, views: 8, test_views: 2, samples_per_pixel: 2, objects: 4,
       write_sparse: true, sparse_points: 300}
  degraded: {tiny: {of: tiny, miss: 0.2}}
scenes:
  exact:
    source: lerf_mask
    path: made/tabletops/tiny
    tracking: {precomputed: {folder: made/tabletops/tiny/gt_ids}}
  spoiled:
    source: copy
    of: exact
    tracking: {precomputed: {folder: made/degraded/tiny}}
variants: [baseline, gradiseg]
tracking: {backend: precomputed, precomputed: {keep_ids: true}}
train:
  {iterations: 40, longest_side: 96, checkpoint_every: 20, log_every: 10, evaluations: 1,
   num_classes: 32}
grounding: {backend: manual, pictures: false}
metrics: {lpips: false}
"""


@pytest.mark.slow
def test_a_tiny_study(tmp_path: Path) -> None:
    pytest.importorskip("mitsuba", reason="renders the scene: pip install -e '.[studies]'")
    (tmp_path / "tiny.yaml").write_text(TINY)
    arguments = ("bench_branches", "--configfile", "tiny.yaml")
    done = snakemake(tmp_path, *arguments, "--cores", "2")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    runs = json.loads((tmp_path / "out" / "tables" / "branches.json").read_text())["runs"]
    assert [(run["scene"], run["variant"]) for run in runs] == [
        ("exact", "baseline"), ("exact", "gradiseg"), ("spoiled", "baseline"),
        ("spoiled", "gradiseg"),
    ]  # fmt: skip
    assert all(5.0 < run["psnr"] < 40.0 and run["gaussian_purity"] is not None for run in runs)
    assert "gradiseg" in (tmp_path / "out" / "tables" / "branches.md").read_text()
    made = tmp_path / "made"
    for scene, given in (
        ("exact", made / "tabletops" / "tiny" / "gt_ids"),
        ("spoiled", made / "degraded" / "tiny"),
    ):
        tracked = tmp_path / "out" / scene / "tracking" / "ids"
        assert len(list(tracked.iterdir())) == 8
        for path in tracked.iterdir():
            np.testing.assert_array_equal(read_id_map(path), read_id_map(given / path.name))
    again = snakemake(tmp_path, *arguments, "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr
