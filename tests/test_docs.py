"""The numbers of README and docs are those of the result files, and stay so."""

from __future__ import annotations

import importlib
import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from docs import build, collect, pictures
from gradiseg_core.config.render import RenderConfig
from gradiseg_core.stages.rendering.stage import render_views
from tests import trained_scene


def test_pages_are_what_the_result_files_give() -> None:
    pages = sorted(page.name for page in build.stale())
    assert pages == [], f"run `make docs`: {', '.join(pages)} differ from docs/results/"


def test_every_table_is_used_and_every_mark_is_closed() -> None:
    text = "\n".join(page.read_text() for page in build.PAGES)
    used = set(re.findall(r"<!-- table: (\S+) -->", text))
    assert used == set(build.definitions()["tables"])
    marks = len(re.findall(r"<!-- (?:table|value): ", text))
    assert text.count("<!-- end -->") == marks


def test_every_result_file_says_where_it_is_from() -> None:
    for path in (build.DOCS / "results").glob("*.json"):
        about = json.loads(path.read_text())["about"]
        assert about.get("command") or about.get("note"), path.name
        assert about.get("commit") or about.get("note"), path.name


PLACES = (build.DOCS.parent, build.DOCS, build.DOCS.parent / "studies")
WRITTEN = sorted(page for folder in PLACES for page in folder.glob("*.md"))


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    plain = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", plain, flags=re.MULTILINE)
    titles = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title) for title in titles]
    found = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    return found | set(re.findall(r'<a id="([^"]+)"', text))


def dead_links(page: Path) -> list[str]:
    """Return the relative links of a page that lead nowhere."""
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if re.match(r"\w+:", link):
            continue
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            dead.append(link)
    return dead


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_links_lead_somewhere(page: Path) -> None:
    assert dead_links(page) == []


def test_dead_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    (tmp_path / "other.md").write_text("# One\n## `two`: three\n```\n# no heading\n```\n")
    page.write_text(
        "# Here\n[a](other.md#two-three) [b](#here) [c](https://x.org/y) [d](gone.md) [e](#there) "
        "[f](other.md#no-heading)\n"
    )
    assert dead_links(page) == ["gone.md", "#there", "other.md#no-heading"]


EXAMPLE = re.compile(r"^[^\n]*`(\S+\.py)`:\n\n```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = dict(EXAMPLE.findall((build.DOCS / "architecture.md").read_text()))
SHOWN_TESTS = [path for path in EXAMPLES if path.startswith("tests/")]


@pytest.mark.parametrize("path", SHOWN_TESTS)
def test_the_examples_of_the_architecture_work(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each example lies in its package for as long as the test that is shown beside it runs."""
    for written, code in EXAMPLES.items():
        folder = tmp_path / Path(written).parent
        folder.mkdir(parents=True, exist_ok=True)
        (folder / Path(written).name).write_text(code)
        if not written.startswith("tests/"):
            name = ".".join(Path(written).parent.parts)
            package = importlib.import_module(name)
            monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
            # Both are put back, so that no later test finds the example.
            stem = Path(written).stem
            monkeypatch.setitem(sys.modules, f"{name}.{stem}", None)  # type: ignore[arg-type]
            del sys.modules[f"{name}.{stem}"]
            monkeypatch.setattr(package, stem, None, raising=False)
    shown = runpy.run_path(str(tmp_path / path))
    tests = [value for name, value in shown.items() if name.startswith("test_")]
    assert tests
    for shown_test in tests:
        shown_test()


def test_there_is_an_example_of_each_kind() -> None:
    folders = {str(Path(path).parent) for path in EXAMPLES}
    core = "gradiseg_core"
    assert {f"{core}/stages/masks/backends", f"{core}/splatting/strategies"} < folders
    assert {f"{core}/splatting/terms", "tests/stages/masks"} < folders


def run(scene: str, variant: str, seed: int, score: float | None) -> dict:
    return {"scene": scene, "variant": variant, "seed": seed, "psnr": score, "num_gaussians": 10}


RUNS = [
    run("a", "base", 0, 20.0), run("b", "base", 0, 30.0), run("a", "base", 1, 22.0),
    run("b", "base", 1, 32.0), run("a", "new", 0, 21.0), run("b", "new", 0, 32.0),
    run("a", "new", 1, 22.0), run("b", "new", 1, None),
]  # fmt: skip


def test_means_by_hand() -> None:
    spec = {
        "label": "x", "scenes": ["a", "b"], "variants": [["base", "B"], ["new", "N"]],
        "scores": ["psnr"],
    }  # fmt: skip
    header, rows = build.KINDS["means"](spec, RUNS)
    assert header == ["x", "seeds", "PSNR"]
    # 25 and 27: 1.41 apart from their mean by the sample's measure; of `new` seed 0 is whole.
    assert rows == [["B", "2", "26.00 ± 1.41"], ["N", "2", "26.50 (3 of 4 runs)"]]


def test_headings_say_what_answered_the_prompts() -> None:
    one, other = {"grounding": "clicks"}, {"grounding": "text"}
    assert build.heading("miou", [one, one]) == "prompts mIoU (by clicks)"
    assert build.heading("mbiou", [other]) == "prompts mBIoU (text)"
    assert build.heading("miou", [one, other]) == "prompts mIoU"
    assert build.heading("miou", [{}]) == "prompts mIoU"  # an older file does not say
    assert build.heading("object_miou", [one]) == "mIoU"


def test_differences_by_hand() -> None:
    spec = {
        "scenes": ["a", "b"], "reference": "base", "variants": [["new", "N"]], "scores": ["psnr"],
    }  # fmt: skip
    _, rows = build.KINDS["differences"](spec, RUNS)
    # +1, +2, 0: standard deviation 1, of three.
    assert rows == [["N", "4", "+1.00 ± 0.58 (3 of 4 runs)"]]


def test_a_changed_result_makes_a_page_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    monkeypatch.setattr(build, "PAGES", (page,))
    monkeypatch.setattr(build, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(build, "results", lambda name: {"about": {"command": "make"}, "runs": RUNS})
    page.write_text("PSNR <!-- value: f:a,b:base:psnr -->1<!-- end --> dB\n")
    assert build.stale()[page] == "PSNR <!-- value: f:a,b:base:psnr -->26.00<!-- end --> dB\n"


def test_scores_of_runs_become_a_result_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = {
        "scene": "a", "variant": "igd", "seed": 0, "iterations": 5, "num_gaussians": 7,
        "summary": {"psnr": 20.123456, "miou": None}, "not_available": {"miou": "no test views"},
        "objects": {"available": True, "render_miou": 0.5}, "grounding": "clicks",
    }  # fmt: skip
    path = tmp_path / "results" / "a" / "igd" / "seed0" / "metrics" / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(metrics))
    (tmp_path / "docs" / "results").mkdir(parents=True)
    monkeypatch.setattr(collect, "DOCS", tmp_path / "docs")
    out = collect.collect(tmp_path / "results", "mine", {"command": "make"})
    [kept] = json.loads(out.read_text())["runs"]
    assert kept["psnr"] == 20.12346
    assert kept["render_miou"] == 0.5
    assert kept["grounding"] == "clicks"
    assert kept["not_available"] == {"miou": "no test views"}
    with pytest.raises(FileNotFoundError, match="no finished run"):
        collect.collect(tmp_path / "nothing", "mine", {})


def test_pictures_of_a_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = trained_scene.make(tmp_path / "balls")
    config = RenderConfig(rasterizer="reference")
    with pytest.raises(FileNotFoundError, match="no rendering of igd"):
        pictures.make(tmp_path / "balls", "balls", "igd")
    render_views(folders.scene, folders.colmap, folders.train, folders.render, config, threads=1)
    shutil.copytree(folders.render, tmp_path / "balls" / "igd" / "seed0" / "render")
    monkeypatch.setattr(pictures, "DOCS", tmp_path)
    (tmp_path / "images").mkdir()
    row, boundaries = pictures.make(tmp_path / "balls", "balls", "igd")
    with Image.open(folders.render / "side_by_side" / "view_000.png") as first:
        assert Image.open(row).size == first.size
    assert boundaries.name == "balls_boundaries.jpg"
