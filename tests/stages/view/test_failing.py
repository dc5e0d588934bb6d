"""A broken or foreign file, or a browser that cannot draw: a message instead of a white page."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stages.view.browser import Viewer
from tests.stages.view.conftest import Made

pytestmark = pytest.mark.browser


def cut_short(text: str) -> str:
    """End the file within the Gaussians, as a broken download does."""
    return text[: text.index('id="splats"') + 4000]


def without(identifier: str) -> Callable[[str], str]:
    return lambda text: text.replace(f'id="{identifier}"', 'id="other"')


def replaced(pattern: str, by: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        changed, count = re.subn(pattern, by, text, count=1, flags=re.S)
        assert count == 1
        return changed

    return change


SPLATS = r'(id="splats">)[^<]*'
BROKEN: dict[str, tuple[Callable[[str], str], str]] = {
    "no base64": (replaced(SPLATS, r"\1###"), "damaged or cut short"),
    "no gzip": (replaced(SPLATS, r"\1AAAA"), "damaged or cut short"),
    "half of the Gaussians": (
        lambda text: re.sub(
            r'(id="splats">)([^<]*)',
            lambda found: found[1] + found[2][: len(found[2]) // 8 * 4],
            text,
        ),
        "damaged or cut short",
    ),
    "nothing": (replaced(SPLATS, r"\1"), "damaged or cut short"),
    "another number of Gaussians": (
        replaced(r'"count":750,"chunk"', '"count":751,"chunk"'),
        "another version",
    ),
    "another format": (replaced(r'"format":1', '"format":99'), "has format 99"),
    "no JSON": (replaced(r'(id="scene">)\{', r"\1[}"), "cannot be read"),
    "no scene": (without("scene"), "is missing"),
    "an object too many": (
        replaced(r'"objects":\[\{.*?\}\],"cameras"', '"objects":[],"cameras"'),
        "belongs to an object",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_broken_data_is_named(how: str, fresh: Viewer, made: Made, tmp_path: Path) -> None:
    change, words = BROKEN[how]
    (tmp_path / "v.html").write_text(change(made.page.read_text()))
    fresh.open(tmp_path / "v.html")
    assert fresh.state == "failed"
    text = fresh.page.inner_text("#fallback")
    assert words in text
    assert "cannot be shown here" in text
    assert fresh.page.locator("#fallback img").count() == 1  # made beforehand


def test_a_file_that_was_cut_short_says_so(fresh: Viewer, made: Made, tmp_path: Path) -> None:
    """The script at its end is gone with it: what is left says that something is missing."""
    (tmp_path / "v.html").write_text(cut_short(made.page.read_text()))
    fresh.page.goto((tmp_path / "v.html").as_uri())
    assert fresh.page.is_visible("#loading")
    fresh.page.wait_for_selector("#loading small", state="visible", timeout=20_000)
    assert "cut short" in fresh.page.inner_text("#loading")


def test_without_webgl_2_pictures_are_shown(fresh: Viewer, made: Made) -> None:
    fresh.page.add_init_script(
        """const get = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
          return kind === "webgl2" ? null : get.call(this, kind, ...rest);
        };"""
    )
    fresh.open(made.page)
    assert fresh.state == "failed"
    assert "no WebGL 2" in fresh.page.inner_text("#fallback")
    picture = fresh.page.locator("#fallback img")
    assert picture.count() == 1
    assert picture.evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 90


def test_without_decompression_the_message_names_it(fresh: Viewer, made: Made) -> None:
    fresh.page.add_init_script("delete globalThis.DecompressionStream")
    fresh.open(made.page)
    assert fresh.state == "failed"
    assert "DecompressionStream" in fresh.page.inner_text("#fallback")


def test_without_base64_of_the_newest_browsers_it_is_read(fresh: Viewer, made: Made) -> None:
    fresh.page.add_init_script("delete Uint8Array.fromBase64")
    fresh.open(made.page)
    assert fresh.state == "ready"


def test_without_float_targets_it_is_drawn_in_eight_bits(fresh: Viewer, made: Made) -> None:
    from tests.stages.view.browser import psnr
    from tests.stages.view.conftest import SIZE

    fresh.page.add_init_script(
        """const get = WebGL2RenderingContext.prototype.getExtension;
        WebGL2RenderingContext.prototype.getExtension = function (name) {
          return name === "EXT_color_buffer_float" ? null : get.call(this, name);
        };"""
    )
    fresh.open(made.page)
    drawn = fresh.picture(2, *SIZE)
    assert psnr(drawn, made.scene.render(made.cameras[2]).color) > 34


def test_a_lost_device_is_named(fresh: Viewer, made: Made) -> None:
    fresh.open(made.page)
    fresh.app("app.renderer.gl.getExtension('WEBGL_lose_context').loseContext()")
    fresh.page.wait_for_selector("#fallback")
    assert "was reset" in fresh.page.inner_text("#fallback")
    assert fresh.page.locator("#fallback img").count() == 1
