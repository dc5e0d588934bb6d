"""Tables: golden files, rounding, seeds, published numbers and where they may stand."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from gradiseg_core.config.tables import TablesConfig
from gradiseg_core.errors import InputError
from gradiseg_core.stages.tables.model import NOT_AVAILABLE, Cell, Column, Row, Table
from gradiseg_core.stages.tables.runs import published
from gradiseg_core.stages.tables.show import describe
from gradiseg_core.stages.tables.stage import build, make_tables, terminal
from gradiseg_core.stages.tables.writers import csv_rows, latex, markdown, text
from tests.stages.tables.runs import cells, run, write

TABLE = Table(
    name="scene-cup_1-strict",
    title="Scene cup_1",
    caption="Masks in %, aggregation strict.",
    columns=(
        Column("miou", "mIoU", 1, 100.0),
        Column("lpips", "LPIPS", 3, best="min"),
        Column("num_gaussians", "Gaussians", 0, best=""),
    ),
    rows=(
        Row("baseline", (Cell(0.8125, 0.0126, 3), Cell(0.1665), Cell(20400.0))),
        Row("A & B", (Cell(0.9), Cell(0.2004), Cell(None, remarks=("cup_1: none: 2D.",)))),
        Row("Old", (Cell(0.95), Cell(None), Cell(None)), True, "Paper 2023", (1,)),
        Row(
            "baseline minus Old",
            (Cell(-0.1375, 0.0126, 3), Cell(None, instead=""), Cell(None, instead="missing")),
            difference=True,
        ),
    ),
    notes=("Paper 2023, 100 % manual.",),
)

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("table.md", markdown(TABLE)),
        ("table.tex", latex(TABLE)),
        ("table.csv", csv_rows([TABLE])),
        ("table.txt", text(TABLE)),
    ],
)
def test_golden_files(name: str, content: str) -> None:
    assert content == (GOLDEN / name).read_text()


def test_all_writers_show_the_same_numbers() -> None:
    """One rounding: 0.8125 x 100 = 81.25 shows alike everywhere, with its deviation."""
    for content in (markdown(TABLE), latex(TABLE), csv_rows([TABLE]), text(TABLE)):
        assert "81.2" in content
        assert "1.3" in content
        assert "81.3" not in content
        assert "0.200" in content


def test_best_is_ours_alone() -> None:
    assert "**90.0**" in markdown(TABLE)
    assert "**95.0**" not in markdown(TABLE)
    assert r"\textbf{0.167}" in latex(TABLE) or r"\textbf{0.166}" in latex(TABLE)


def test_cell_over_seeds() -> None:
    cell = Cell.of([0.5, 0.6, 0.7])
    assert cell.mean == pytest.approx(0.6)
    assert cell.deviation == pytest.approx(0.1)  # sample, not population
    assert Cell.of([0.5]).deviation is None
    assert Cell.of([0.5, None]).mean is None
    assert Cell.of([]).mean is None


def test_mean_over_scenes_then_over_seeds(tmp_path: Path) -> None:
    runs = [
        run("a", "baseline", 0, 0.2), run("b", "baseline", 0, 0.6),
        run("a", "baseline", 1, 0.4), run("b", "baseline", 1, 0.8),
    ]  # fmt: skip
    tables = {table.name: table for table in make_tables(write(tmp_path, runs), TablesConfig())}
    assert sorted(tables) == ["mean-own-scenes-strict", "scene-a-strict", "scene-b-strict"]
    [cell] = cells(tables["mean-own-scenes-strict"], "baseline", "miou")
    assert cell.mean == pytest.approx(0.5)
    assert cell.deviation == pytest.approx(0.1 * 2**0.5)  # of 0.4 and 0.6
    assert "2 seeds" in tables["scene-a-strict"].caption


def test_variants_in_order_reference_first(tmp_path: Path) -> None:
    runs = [run("a", variant, 0, 0.5) for variant in ("gradiseg", "la_knn", "igd", "baseline")]
    paths = write(tmp_path, runs)
    [table] = make_tables(paths, TablesConfig())
    assert [row.label.split(" (")[0] for row in table.rows] == [
        "baseline", "baseline + IGD", "baseline + LA-KNN", "GradiSeg",
    ]  # fmt: skip
    [table] = make_tables(paths, TablesConfig(reference_variant="gradiseg"))
    assert table.rows[0].label.startswith("GradiSeg")


def test_two_ways_of_grounding_have_tables_of_their_own(tmp_path: Path) -> None:
    first = write(tmp_path / "first", [run("a", "baseline", 0, 0.2), run("b", "baseline", 0, 0.4)])
    texts = [run(scene, "baseline", 0, 0.9, grounding="groundingdino") for scene in "ab"]
    tables = make_tables(first + write(tmp_path / "second", texts), TablesConfig())
    by_name = {table.name: table for table in tables}
    assert "scene-a-groundingdino-strict" in by_name
    [cell] = cells(by_name["mean-own-scenes-manual-strict"], "baseline", "miou")
    assert cell.mean == pytest.approx(0.3)
    [cell] = cells(by_name["mean-own-scenes-groundingdino-strict"], "baseline", "miou")
    assert cell.mean == pytest.approx(0.9)
    with pytest.raises(InputError, match="came twice"):
        make_tables(first + write(tmp_path / "again", texts[:1]) * 2, TablesConfig())


def test_captions_say_what_answered_the_prompts(tmp_path: Path) -> None:
    """In every printed form, a terminal's included."""
    how = "10 clicked in a.jpg, a test view"
    runs = [run("a", "baseline", 0, 0.2, grounding="clicks", grounding_protocol=how)]
    runs.append(run("a", "igd", 0, 0.2, grounding="clicks", grounding_protocol=how))
    paths = write(tmp_path, runs)
    build(paths, tmp_path / "out", TablesConfig())
    for shown in (
        terminal(paths),
        *((tmp_path / "out" / f"tables.{x}").read_text() for x in ("md", "tex")),
    ):
        assert f"prompts grounded by clicks ({how}), " in " ".join(shown.split())
    assert (
        "prompts grounded by manual, "
        in make_tables(
            write(tmp_path / "b", [run("a", "baseline", 0, 0.2, grounding_protocol="")]),
            TablesConfig(),
        )[0].caption
    )


def test_own_variants_go_by_their_labels(tmp_path: Path) -> None:
    runs = [run("a", "baseline", 0, 0.2), run("a", "mine", 0, 0.3), run("a", "other", 0, 0.4)]
    tables = make_tables(write(tmp_path, runs), TablesConfig(), {"mine": "My own"})
    assert [row.label for row in tables[0].rows][1:] == ["My own", "other"]


def test_what_is_absent_says_why(tmp_path: Path) -> None:
    without = run("a", "baseline", 0, None)
    without["coverage"] = {"masks_scored": 0, "masks_annotated": 0}
    [table] = make_tables(write(tmp_path, [without]), TablesConfig())
    assert [column.key for column in table.columns] == ["psnr", "ssim", "num_gaussians"]
    assert "no weights" in table.caption
    assert "no exact IDs" in table.caption
    assert "No mIoU: no prompt of the scene is annotated." in table.caption
    assert "argmax" not in table.caption  # what is not in the table is not explained
    [table] = make_tables(write(tmp_path / "b", [run("b", "igd", 0, None)]), TablesConfig())
    assert "5 of 6" in table.caption
    assert table.columns[0].key == "miou"


def test_aggregation_is_stated_and_used(tmp_path: Path) -> None:
    entry = run("a", "baseline", 0, 0.5)
    entry["masks"]["gg"]["miou"] = 0.75
    paths = write(tmp_path, [entry])
    gg, strict = make_tables(paths, TablesConfig(aggregation="both"))
    assert "aggregation gg" in gg.caption
    assert "aggregation strict" in strict.caption
    assert cells(gg, "baseline", "miou")[0].mean == 0.75
    assert cells(strict, "baseline", "miou")[0].mean == 0.5


def test_published_rows_only_beside_their_scenes(tmp_path: Path) -> None:
    runs = [
        run("ramen", "baseline", 0, 0.5),
        run("ramen2", "baseline", 0, 0.5),
        run("teatime", "baseline", 0, 0.5, source="folder"),
    ]
    tables = {table.name: table for table in make_tables(write(tmp_path, runs), TablesConfig())}
    shown = {
        name: [row.label for row in table.rows if row.published] for name, table in tables.items()
    }
    assert shown["scene-ramen-strict"] == [
        "OmniSeg3D", "Feature3DGS", "GARField", "Click-Gaussian", "GradiSeg",
    ]  # fmt: skip
    assert not shown["scene-ramen2-strict"]
    assert not shown["scene-teatime-strict"]
    assert not shown["mean-own-scenes-strict"]


def test_protocol_decides_which_published_rows_stand(tmp_path: Path) -> None:
    entry = run("ramen", "baseline", 0, 0.5, grounding="groundingdino")
    [table] = make_tables(write(tmp_path / "text", [entry]), TablesConfig())
    labels = [row.label for row in table.rows if row.published]
    assert "Gaussian Grouping" in labels
    assert "OmniSeg3D" not in labels
    assert not any("ours do not" in note for note in table.notes)
    entry = run("ramen", "baseline", 0, 0.5, grounding="colour_words")
    [table] = make_tables(write(tmp_path / "words", [entry]), TablesConfig())
    assert any("ours do not" in note for note in table.notes)
    off = make_tables([tmp_path / "words/ramen/baseline/seed0/metrics/metrics.json"],
                      TablesConfig(published=False))  # fmt: skip
    assert not any(row.published for row in off[0].rows)


def test_contradictory_average_is_printed_and_flagged(tmp_path: Path) -> None:
    runs = [run(scene, "baseline", 0, 0.5) for scene in ("figurines", "ramen", "teatime")]
    tables = make_tables(write(tmp_path, runs), TablesConfig())
    mean = next(table for table in tables if table.name == "mean-lerf-mask-strict")
    [row] = [row for row in mean.rows if row.label == "OmniSeg3D"]
    [cell] = cells(mean, "OmniSeg3D", "miou")
    assert cell.texts(mean.columns[0])[0] == "79.4"
    assert any("72.8" in mean.notes[number - 1] for number in row.notes)
    # Two of three scenes are not the published average's scenes.
    partial = make_tables(write(tmp_path / "two", runs[:2]), TablesConfig())
    assert not any(row.published for row in partial[-1].rows)


def test_published_data_is_whole_and_consistent() -> None:
    entries = published()["entries"]
    datasets = published()["datasets"]
    assert len(entries) == 19
    for entry in entries:
        assert entry["source"]
        assert entry["protocol"] in ("text", "manual", "any")
        assert "scenes" in entry or "average" in entry
        assert set(entry.get("scenes", {})) <= set(datasets[entry["dataset"]]["scenes"])
        if "scenes" in entry and "average" in entry:
            mean = sum(values["miou"] for values in entry["scenes"].values()) / 3
            agrees = abs(mean - entry["average"]["miou"]) < 0.06
            assert agrees or any("contradictory" in caveat for caveat in entry["caveats"])
    by_name = {(e["method"], e["protocol"]): e for e in entries}
    assert by_name["GradiSeg", "text"]["scenes"]["figurines"] == {"miou": 81.3, "mbiou": 78.1}
    assert by_name["Gaussian Grouping", "any"]["average"]["psnr"] == 27.09


def test_what_is_not_available_says_why_in_every_table(tmp_path: Path) -> None:
    """As of a scene without a registered test view, and of a prompt without a true pixel."""
    why = "no test views: the scene holds none out"
    gone = {"gg": {"miou": None, "mbiou": None, "why": why, "over": None}}
    gone["strict"] = gone["gg"]
    scores = run("a", "igd", 0, None)["summary"] | {"psnr": None, "ssim": None}
    none = run(
        "a", "igd", 0, None, masks=gone, argmax_masks=gone, summary=scores,
        not_available={"psnr": why, "ssim": why},
    )  # fmt: skip
    part = run("a", "baseline", 0, 0.5, partial={"psnr": "over 3 of 4 test views (not x: black)"})
    (tmp_path / "both").mkdir()
    paths = write(tmp_path / "both", [none, part])
    [table] = make_tables(paths, TablesConfig())
    [cell] = cells(table, "baseline + IGD", "psnr")
    assert cell.remarks == (f"a: not available: {why}.",)
    for content in (markdown(table), text(table)):
        assert f"{NOT_AVAILABLE} [" in content
        assert "not available: no test views: the scene holds none out" in " ".join(content.split())
        assert "a: mean over 3 of 4 test views (not x: black)" in " ".join(content.split())
        assert "nan" not in content.lower().replace("unavailable", "")
    assert r"--\textsuperscript{" in latex(table)
    rows = list(csv.DictReader(io.StringIO(csv_rows([table]))))
    [psnr] = [row for row in rows if row["method"] == "baseline + IGD" and row["metric"] == "PSNR"]
    assert psnr["mean"] == "n/a"
    assert why in psnr["notes"]
    # Alone, the columns stay and say why.
    (tmp_path / "alone").mkdir()
    [alone] = make_tables(write(tmp_path / "alone", [none]), TablesConfig())
    assert [column.key for column in alone.columns][:2] == ["miou", "mbiou"]
    assert why in terminal(sorted((tmp_path / "alone").rglob("metrics.json"))).replace("\n", " ")


def test_a_seed_that_has_not_run_on_all_scenes_is_said(tmp_path: Path) -> None:
    runs = [run("a", "igd", 0, 0.2), run("b", "igd", 0, 0.6), run("a", "igd", 1, 0.4)]
    tables = {table.name: table for table in make_tables(write(tmp_path, runs), TablesConfig())}
    [cell] = cells(tables["mean-own-scenes-strict"], "baseline + IGD", "miou")
    assert cell.mean == pytest.approx(0.4)
    assert cell.remarks == ("Without seed 1, which has not run on all scenes.",)


def test_files_are_written_and_parse(tmp_path: Path) -> None:
    paths = write(tmp_path, [run("ramen", "gradiseg", seed, 0.5) for seed in (0, 1)])
    build(paths, tmp_path / "tables", TablesConfig())
    rows = list(csv.DictReader(io.StringIO((tmp_path / "tables" / "tables.csv").read_text())))
    ours = [row for row in rows if row["published"] == "no" and row["metric"] == "mIoU"]
    assert [(row["mean"], row["deviation"], row["seeds"]) for row in ours] == [("50.0", "0.0", "2")]
    assert "## Scene ramen" in (tmp_path / "tables" / "tables.md").read_text()
    tex = (tmp_path / "tables" / "tables.tex").read_text()
    assert tex.count(r"\begin{table}") == tex.count(r"\end{table}") == 1


def test_terminal_and_where_to_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write(tmp_path, [run("kitchen", "gradiseg", 0, 0.5)])
    assert "50.0" in terminal(paths)
    told = describe(tmp_path)
    assert "side_by_side" in told
    assert "overview.png" not in told
    scene = next(tmp_path.glob("*/*/seed*/metrics")).parents[2]
    (scene / "geometry").mkdir()
    (scene / "geometry" / "overview.png").touch()
    assert f"{scene.name}, its surface and objects: {scene / 'geometry' / 'overview.png'}" in (
        describe(tmp_path)
    )
    assert "on one page" not in told
    (scene / "report.html").touch()
    assert f"{scene.name} on one page: {scene / 'report.html'}" in describe(tmp_path)
    assert "in 3D" not in told
    page = next(tmp_path.glob("*/*/seed*")) / "view.html"
    page.touch()
    assert f"kitchen, gradiseg, seed 0, in 3D: {page}" in describe(tmp_path)
    with pytest.raises(InputError, match=r"gradiseg run <photographs or configuration>` makes one"):
        describe(tmp_path / "nothing")
    monkeypatch.chdir(tmp_path)  # where Snakemake finds neither its rules nor a configuration
    assert "snakemake" not in describe(tmp_path)
    for name in ("Snakefile", "config.yaml"):
        (tmp_path / name).touch()
    assert "snakemake --report report.html" in describe(tmp_path)


def test_bad_inputs(tmp_path: Path) -> None:
    paths = write(tmp_path, [run("a", "baseline", 0, 0.5)])
    with pytest.raises(InputError, match="twice"):
        make_tables(paths * 2, TablesConfig())
    with pytest.raises(InputError, match="metrics stage"):
        make_tables([tmp_path / "none.json"], TablesConfig())
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(InputError, match="not a metrics"):
        make_tables([tmp_path / "other.json"], TablesConfig())
    with pytest.raises(InputError, match="nothing to tabulate"):
        make_tables([], TablesConfig())


def test_a_scene_and_a_copied_run_are_shown_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, [run("kitchen", "gradiseg", 0, 0.5)])
    one = next(tmp_path.glob("*/*/seed*"))
    (one.parents[1] / "report.html").touch()
    (tmp_path / "report.html").touch()  # of nothing here
    monkeypatch.chdir(tmp_path)
    for folder in (one.parents[1], one.parent, one):
        told = describe(folder.relative_to(tmp_path))
        assert "50.0" in told
        assert f"on one page: {one.parents[1].relative_to(tmp_path) / 'report.html'}" in told
        assert "tables as Markdown" not in told
    one.rename("copied")
    told = describe(Path("copied"))
    assert "kitchen, gradiseg, seed 0: copied/render/side_by_side" in told
    assert "on one page" not in told
