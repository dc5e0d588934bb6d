"""The page as a file: bundled modules, its policy, its data."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest

from gradiseg_core.modules import closure
from gradiseg_core.stages.view import page as module
from gradiseg_core.stages.view.page import bundle, page, read_page, write_page

WEB = Path(module.__file__).parent / "web"


def test_modules_come_before_those_that_import_them() -> None:
    script = bundle("main.js")
    pairs = [
        (path.name, other)
        for path in WEB.glob("*.js")
        for other in re.findall(r'from "\./([\w-]+\.js)"', path.read_text())
        if f"// {path.name}\n" in script
    ]
    assert len(pairs) > 15
    for name, imported in pairs:
        assert script.index(f"// {imported}\n") < script.index(f"// {name}\n"), (name, imported)
    assert not re.search(r"^(import|export)\b", script, re.M)


def test_one_name_in_two_modules_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text('import { b } from "./b.js";\nconst twice = 1;\n')
    (tmp_path / "b.js").write_text("export const b = 2;\nfunction twice() {}\n")
    with pytest.raises(ValueError, match=r"a\.js and b\.js both have twice"):
        bundle("a.js", tmp_path)


def test_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text('import { b } from "./b.js";\n')
    (tmp_path / "b.js").write_text('import { a } from "./a.js";\nexport const b = 2;\n')
    with pytest.raises(ValueError, match="imports itself"):
        bundle("a.js", tmp_path)


def test_every_file_of_the_page_reruns_its_rule() -> None:
    files = closure([Path(module.__file__).parents[3] / "workflow_scripts" / "view.py"])
    assert {path.name for path in WEB.iterdir()} <= {path.name for path in files}


def test_only_what_the_page_brings_may_run_and_nothing_is_fetched() -> None:
    text = page("t", {}, b"", [])
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    script = re.search(r'<script type="module">(.*?)</script>', text, re.S)
    style = re.search(r"<style>(.*?)</style>", text, re.S)
    assert policy is not None
    assert script is not None
    assert style is not None
    for kind, content in (("script", script[1]), ("style", style[1])):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy[1]
    assert "default-src 'none'" in policy[1]
    assert "connect-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]
    outside = set(re.findall(r"https?://[^\s\"'`<]+", text))
    assert outside <= {"http://www.w3.org/2000/svg"}


def test_names_cannot_end_their_block(tmp_path: Path) -> None:
    nasty = "</script><script>alert(1)</script><!-- {{splats}} & \u2028"
    file = tmp_path / "view.html"
    write_page(file, nasty, {"objects": [{"name": nasty}]}, b"\x00\xff splats", [])
    text = file.read_text()
    assert "alert(1)</script>" not in text
    assert text.count("<script") == page("t", {}, b"", []).count("<script")
    scene, splats = read_page(file)
    assert scene == {"objects": [{"name": nasty}]}
    assert splats == b"\x00\xff splats"


def test_a_file_that_is_no_page_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<p>no scene</p>")
    with pytest.raises(ValueError, match=r"a\.html is not the page of a scene"):
        read_page(tmp_path / "a.html")


def test_modules_are_short_enough_to_read() -> None:
    for path in WEB.iterdir():
        assert len(path.read_text().splitlines()) <= 500, path.name
