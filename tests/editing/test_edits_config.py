"""Section `edits`: what is validated before anything runs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from gradiseg_core.config.edits import (
    OPERATIONS,
    Remove,
    Swap,
    operations,
    read_by,
    rgb,
    with_weights,
    written,
)
from gradiseg_core.config.filling import LAMA
from gradiseg_core.config.inputs import needed_downloads
from gradiseg_core.config.root import _wrong_keys, load
from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.errors import ConfigError

ISSUE = """
without_ball:   [{remove: striped ball, fill: true}]
gold_teapot:    [{recolour: teapot, colour: gold}]
swapped:        [{swap: [mug, apple]}]
moved:          [{move: lemon, by_m: [0.1, 0, 0], rotate_deg: [0, 0, 30]},
                 {duplicate: apple, by_m: [0, 0.12, 0]}, {keep: [plant, table]}]
more:           [{scale: {of: 3, grow: 0.1}, factor: 2}, {rotate: 3, rotate_deg: [0, 0, 90]},
                 {insert: mug, scene: results/other/gradiseg/seed0, at_m: [0, 0, 0]},
                 {style: mug, like: pictures/waves.jpg},
                 {remove: mug, fill: {backend: lama, checkpoint: big-lama.pt}}]
"""


COPY = {"duplicate": "a", "by_m": [1, 0, 0]}


def test_every_operation_is_read_and_written_as_a_user_writes_it() -> None:
    edits = yaml.safe_load(ISSUE)
    names = set()
    for steps in edits.values():
        read = operations(steps)
        assert operations(json.loads(json.dumps([written(step) for step in read]))) == read
        # Parameters of jobs hold all defaults.
        assert operations([step.model_dump(mode="json") for step in read]) == read
        names |= {step.name for step in read}
    assert names == set(OPERATIONS)
    (remove,) = operations(edits["without_ball"])
    assert isinstance(remove, Remove)
    assert written(remove) == {"remove": "striped ball"}
    (swap,) = operations(edits["swapped"])
    assert isinstance(swap, Swap)
    assert swap.swap == ("mug", "apple")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("remove", "expected a list of operations"),
        ([], "expected a list of operations"),
        (["remove"], r"operation 1: expected a mapping such as"),
        ([{"remve": "a"}], r"operation 1: 'remve' is no operation; did you mean 'remove'"),
        ([{"remove": "a", "fil": True}], r"operation 1: fil: unknown key; did you mean 'fill'"),
        ([{"remove": "a"}, {"keep": []}], r"operation 2: keep: the list is empty"),
        (
            [{"remove": {"of": "a", "grw": 1}}],
            r"operation 1: remove: grw: unknown key; did you mean 'gro",
        ),
        ([{"swap": ["a"]}], r"operation 1: swap"),
        ([{"move": "a"}], r"operation 1: nothing would change: give by_m, rotate_deg or factor"),
        ([{"scale": "a", "factor": 0}], r"operation 1: factor: must be greater than 0"),
        (
            [{"rotate": "a", "rotate_deg": [math.nan, 0, 0]}],
            r"operation 1: rotate_deg\[0\]: must be a finite number, got nan",
        ),
        ([{"move": "a", "by_m": [0, math.inf, 0]}], r"by_m\[1\]: must be a finite number, got inf"),
        (
            [{"insert": "a", "scene": "b", "at_m": [0, 0, math.nan]}],
            r"at_m\[2\]: must be a finite number",
        ),
        ([{"scale": "a", "factor": math.inf}], r"factor: must be a finite number"),
        ([{"remove": {"of": "a", "grow": math.inf}}], r"grow: must be a finite number"),
        (
            [{"remove": {"in_box": {"centre": [math.nan, 0, 0], "size": [1, 1, 1]}}}],
            r"in_box.centre\[0\]: must be a finite number",
        ),
        (
            [{"recolour": "a", "colour": "golden"}],
            r"operation 1: colour: there is no colour 'golden'",
        ),
        ([{"recolour": "a"}], r"operation 1: colour: is required"),
        ([{"recolour": "a", "colour": "goldd"}], r"no colour 'goldd'; did you mean 'gold'\?"),
        (
            [{"recolour": "a", "colour": "#00ff0080"}],
            r"colour: '#00ff0080' has a fourth number, .*; write #00ff00",
        ),
        ([{}], r"operation 1: the entry is empty; write one of remove, keep,"),
        (
            [{"remove": {"any": []}}],
            r"operation 1: remove: any: expected at least 1 entry, got \[\]",
        ),
        (
            [{"remove": {"in_view": {"view": "a", "box": [90, 80, 10, 20]}}}],
            r"in_view: left \(90\) must be less than right \(10\) and top \(80\) must be less than "
            r"bottom \(20\); write \[left, top, right, bottom\]",
        ),
        (
            [{"remove": "a", "keep": "b"}],
            r"operation 1: remove and keep are 2 operations in one entry",
        ),
        (
            [{"recolour": "a", "colour": [300, 2, 2]}],
            r"operation 1: colour: expected a name of CSS, #",
        ),
        ([{"recolour": "a", "colour": 7}], r"operation 1: colour: "),
        ([{**COPY, "called": ""}], r"operation 1: called: a name cannot be empty"),
        ([{**COPY, "called": " \t "}], r"operation 1: called: a name cannot be empty"),
        ([{**COPY, "called": "Everything"}], r"called: 'Everything' has a meaning of its own"),
        ([{**COPY, "called": "background"}], r"called: 'background' has a meaning of its own"),
        ([{**COPY, "called": "7"}], r"called: '7' reads as an ID"),
        ([{**COPY, "called": "ID 7"}], r"called: 'ID 7' reads as an ID"),
        ([{**COPY, "called": "a" * 101}], r"called: a name has at most 100 characters, got 101"),
        (
            [{"insert": "a", "scene": "other", "called": " "}],
            r"operation 1: called: a name cannot be empty",
        ),
        (
            [{"remove": "a", "fill": "lama"}],
            r"operation 1: fill: expected true, false or a mapping",
        ),
        (
            [{"remove": "a", "fill": {"backend": "lma"}}],
            r"operation 1: fill: backend: expected one of embedded, lama",
        ),
        (
            [{"swap": ["a", "b"], "fill": {"checkpoint": "big-lama.pt"}}],
            r"operation 1: fill: checkpoint belongs to `backend: lama`",
        ),
    ],
)
def test_what_is_wrong_is_named(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        operations(given)


def test_all_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"operation 1: .*; operation 3: ") as caught:
        operations([{"a": 1}, {"remove": 1}, {"remove": 1, "cut": "perhaps"}])
    assert "operation 2" not in str(caught.value)


def test_one_operation_needs_no_list_in_a_configuration() -> None:
    assert _wrong_keys({"scenes": {"a": {"path": "a"}}, "edits": {"b": {"remove": "cup"}}}) == []
    move = {"move": 1, "by_m": [0, 0, True]}
    wrong = _wrong_keys({"scenes": {"a": {"path": "a"}}, "edits": {"b": move}})
    assert wrong == ["edits.b.0.by_m.2: expected float, got True"]


def test_colours() -> None:
    assert rgb("#ff8000") == (1.0, 128 / 255, 0.0)
    assert rgb("gold") == (1.0, 215 / 255, 0.0)


def test_a_colour_may_be_three_numbers() -> None:
    (step,) = operations([{"recolour": "mug", "colour": [255, 128, 0]}])
    assert written(step) == {"recolour": "mug", "colour": "#ff8000"}


def test_a_path_may_start_at_home() -> None:
    (step,) = operations([{"style": "mug", "like": "~/waves.jpg"}])
    assert step.like == Path("~/waves.jpg").expanduser()  # type: ignore[attr-defined]


def test_files_of_selections_are_read_wherever_they_are_named() -> None:
    part = {"selection": {"file": "~/a.npz", "name": "x"}}
    (edit,) = operations([{"swap": [{"any": ["mug", part]}, {"of": 3, "without": part}]}])
    assert [entry.file for entry in edit.stored] == [Path("~/a.npz").expanduser()] * 2
    steps = [{"keep": ["mug", part]}, {"recolour": {"all": [part, 3]}, "colour": "gold"}]
    assert read_by(operations(steps)) == [Path("~/a.npz").expanduser()]
    with pytest.raises(ValueError, match=r"remove: give one of of, selection"):
        operations([{"remove": {"of": 3, **part}}])
    with pytest.raises(ValueError, match=r"remove: selection\.name: is required"):
        operations([{"remove": {"selection": {"file": "a.npz"}}}])


def test_lama_is_fetched_where_an_edit_names_no_file(tmp_path: Path) -> None:
    (tmp_path / "mine.pt").touch()
    scene: dict[str, Any] = {"source": "demo"}
    own = {"remove": "a", "fill": {"backend": "lama", "checkpoint": "mine.pt"}}
    raw: dict[str, Any] = {"scenes": {"a": scene, "b": scene}, "edits": {"x": [own]}}
    assert needed_downloads({"scene": SceneConfig()}, load(raw, tmp_path).steps_of("a")) == []
    assert read_by(load(raw, tmp_path).edits_of("a")["x"]) == [Path("mine.pt")]
    fetched = {"move": "a", "by_m": [1, 0, 0], "fill": {"backend": "lama"}}
    raw["scenes"]["b"] = {**scene, "edits": {"y": [fetched, own, fetched]}}
    settings = load(raw, tmp_path)
    (download,) = needed_downloads({"scene": SceneConfig()}, settings.steps_of("b"))
    assert download == ("edits", "lama", LAMA.url, Path("checkpoints/lama.pth"))
    assert needed_downloads({"scene": SceneConfig()}, settings.steps_of("a")) == []
    given = with_weights(settings.edits_of("b")["y"], Path("there.pth"))
    files = [path for step in given for path in step.weights().values()]
    assert files == [Path("there.pth"), Path("mine.pt"), Path("there.pth")]
    raw["downloads"] = {"offline": True, "folder": "d"}
    message = r"scenes\.b\.edits: lama is not in d/checkpoints/lama\.pth.*fetch it from https://git"
    with pytest.raises(ConfigError, match=message):
        load(raw, tmp_path)
    (tmp_path / "d/checkpoints").mkdir(parents=True)
    (tmp_path / "d/checkpoints/lama.pth").touch()
    load(raw, tmp_path)
    (tmp_path / "mine.pt").unlink()
    with pytest.raises(ConfigError, match=r"edits\.x\[0\]\.fill\.checkpoint: no such file: mine"):
        load(raw, tmp_path)


def test_names_of_edits_and_exports_become_folders() -> None:
    content = {
        "edits": {"ohne_äpfel": [{"remove": "a", "fil": True}], "fine-1": [{"remove": "a"}]},
        "exports": {"a/b": {"format": "ply"}},
    }
    with pytest.raises(ConfigError) as error:
        load({**content, "scenes": {"x": {"path": "photos"}}})
    lines = str(error.value).splitlines()
    words = "the name becomes a folder: it must begin with a letter (a to z) or a digit, and have "
    assert sum(words in line for line in lines) == 2
    assert any(f"exports.a/b: {words}" in line for line in lines)
    assert any("edits.ohne_äpfel: operation 1: fil: unknown key" in line for line in lines)
    assert "pattern" not in str(error.value)


def test_colours_are_read_as_css_has_them() -> None:
    (step,) = operations([{"recolour": "a", "colour": " Gold "}])
    assert written(step)["colour"] == "Gold"
    assert rgb("rgb(255, 0, 51)") == pytest.approx((1.0, 0.0, 0.2))
