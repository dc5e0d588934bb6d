"""Record the page of a run as an animated picture, in the browser of the tests.

Usage: ``python -m docs.view_picture RESULTS/SCENE/VARIANT/SEED/view.html NAME OBJECT OBJECT``

Turn, click the first object, isolate it, show everything, remove the second one, turn. Writes
``docs/images/NAME.webp``.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from docs.build import DOCS
from tests.stages.view.browser import ARGUMENTS, Viewer, chromium

_SIZE = {"width": 1180, "height": 700}
_SHOWN = 900  # px, width of the picture
_QUALITY = 72
_PATIENCE_MS = 300_000  # for a frame: a processor draws, beside other work

_POINTER = """() => {
  const dot = document.createElement("i");
  dot.id = "recorded-pointer";
  Object.assign(dot.style, {position: "fixed", width: "22px", height: "22px", margin: "-11px",
    borderRadius: "50%", background: "rgba(255,255,255,.55)", border: "2px solid #0b6bcb",
    pointerEvents: "none", zIndex: 9, left: "-50px", top: "-50px"});
  document.body.append(dot);
}"""


class Recorder:
    """Frames of a page.

    Attributes:
        frames: Pictures so far.
        times: How long each is shown, ms.
    """

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.frames: list[Image.Image] = []
        self.times: list[int] = []

    def take(self, time_ms: int) -> None:
        """Add a frame."""
        self.viewer.settle()
        picture = Image.open(io.BytesIO(self.viewer.page.screenshot())).convert("RGB")
        height = round(picture.height * _SHOWN / picture.width)
        self.frames.append(picture.resize((_SHOWN, height), Image.Resampling.LANCZOS))
        self.times.append(time_ms)

    def turn(self, steps: int, yaw: float) -> None:
        """Turn around the scene."""
        for _ in range(steps):
            self.viewer.app(
                "app.camera.orbit(argument, 0); app.cameraMoved(); await app.settled();", yaw
            )
            self.take(70)

    def click(self, name: str) -> None:
        """Click an object where most of it is seen."""
        at = self.viewer.app(
            """const place = app.scene.objects.findIndex((o) => o.name === argument) + 1;
            const { width, height } = app.windowShot();
            const found = [];
            for (let y = 80; y < height - 100; y += 12) {
              for (let x = 12; x < width - 330; x += 12) {
                if ((await app.pick(x, y)).object === place) found.push([x, y]);
              }
            }
            const middle = [0, 1].map((i) => found.reduce((s, p) => s + p[i], 0) / found.length);
            const far = (p) => Math.hypot(p[0] - middle[0], p[1] - middle[1]);
            return found.sort((a, b) => far(a) - far(b))[0];""",
            name,
        )
        page = self.viewer.page
        page.mouse.move(*at)
        page.evaluate(
            """([x, y]) => Object.assign(document.getElementById("recorded-pointer").style,
              {left: `${x}px`, top: `${y}px`})""",
            at,
        )
        self.viewer.app("await app.pick(0, 0)")
        page.wait_for_timeout(400)
        self.take(700)
        self.viewer.click(*at)
        self.take(1300)

    def press(self, key: str, time_ms: int) -> None:
        """Press a key, and show what came of it."""
        self.viewer.page.keyboard.press(key)
        self.take(time_ms)


def record(page: Path, first: str, second: str) -> Recorder:
    """Return the frames."""
    with sync_playwright() as playwright:
        browser: Any = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        opened = browser.new_page(viewport=_SIZE, reduced_motion="reduce")
        opened.set_default_timeout(_PATIENCE_MS)
        viewer = Viewer(opened)
        viewer.open(page)
        viewer.page.evaluate(_POINTER)
        recorder = Recorder(viewer)
        recorder.take(700)
        recorder.turn(9, -0.05)
        recorder.click(first)
        recorder.press("i", 1100)
        recorder.turn(4, 0.12)
        recorder.press("a", 700)
        recorder.click(second)
        recorder.press("h", 1200)
        recorder.press("Escape", 300)
        recorder.turn(6, -0.05)
        recorder.take(1200)
        browser.close()
    return recorder


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("name")
    parser.add_argument("first", help="name of the object that is isolated")
    parser.add_argument("second", help="name of the object that is removed")
    parser.add_argument("--out", type=Path, default=DOCS / "images", help="folder")
    options = parser.parse_args()
    recorder = record(options.page, options.first, options.second)
    out = options.out / f"{options.name}.webp"
    first, *rest = recorder.frames
    first.save(
        out,
        save_all=True,
        append_images=rest,
        duration=recorder.times,
        loop=0,
        quality=_QUALITY,
        method=4,
    )
    print(out, out.stat().st_size)


if __name__ == "__main__":
    main()
