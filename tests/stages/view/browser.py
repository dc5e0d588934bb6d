"""A page in a real Chromium, without a GPU: SwiftShader draws."""

from __future__ import annotations

import base64
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

#: SwiftShader, and no sandbox: containers that run tests as root do not allow one.
ARGUMENTS = [
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--no-sandbox",
]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str | None:
    """Where Chromium is, or None; `GRADISEG_CHROMIUM` names another one."""
    named = os.environ.get("GRADISEG_CHROMIUM")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclass
class Viewer:
    """An open page.

    Attributes:
        page: Playwright's.
        requests: Every address that was asked for, data and blobs left out.
        problems: Errors and warnings of the console.
    """

    page: Any
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def open(self, path: Path, fragment: str = "") -> None:
        """Open a file and wait until it is drawn, or until it says why it cannot be."""
        self.page.goto(path.resolve().as_uri() + fragment)
        self.page.wait_for_selector("html:not([data-state=loading])", timeout=60_000)

    @property
    def state(self) -> str:
        return self.page.evaluate("document.documentElement.dataset.state")

    def app(self, body: str, argument: Any = None) -> Any:
        """Run the body of an async function of `app` and `argument`."""
        return self.page.evaluate(
            f"async (argument) => {{ const app = await gradiseg; {body} }}", argument
        )

    def settle(self) -> None:
        self.app("await app.settled()")

    def stand(self, camera: int) -> None:
        """Stand where a photograph was taken, without a flight."""
        self.app("app.camera.take(argument); app.cameraMoved(); await app.settled();", camera)

    def reset(self) -> None:
        """Undo everything; back to the start."""
        self.app(
            """app.reset(); app.select([]); app.setMode("colour"); app.leavePhotograph();
            app.camera.take(app.scene.home); app.cameraMoved();
            app.edits.past = []; app.edits.future = []; app.tell("states");
            await app.settled();"""
        )

    def picture(self, camera: int, width: int, height: int, mode: str = "colour") -> np.ndarray:
        """What a photograph's camera sees, [H, W, 3] in 0..1, black behind."""
        text = self.app(
            """const data = await app.picture(argument);
            let text = "";
            for (let i = 0; i < data.length; i += 8192) {
              text += String.fromCharCode(...data.subarray(i, i + 8192));
            }
            return btoa(text);""",
            {"camera": camera, "width": width, "height": height, "mode": mode},
        )
        raw = np.frombuffer(base64.b64decode(text), np.uint8)
        return raw.reshape(height, width, 4)[..., :3] / 255.0

    def place_of(self, camera: Any, x: float, y: float) -> tuple[float, float]:
        """Where a pixel of the photograph whose camera the page stands at is in the window."""
        frame = self.app("return app.windowShot().frame")
        return (
            frame["left"] + x * frame["width"] / camera.width,
            frame["top"] + y * frame["height"] / camera.height,
        )

    def click(self, x: float, y: float, *modifiers: str) -> None:
        """Click and wait for the answer of the worker."""
        for key in modifiers:
            self.page.keyboard.down(key)
        self.page.mouse.click(x, y)
        for key in modifiers:
            self.page.keyboard.up(key)
        # The worker answers in order: this question comes after the click's.
        self.app("await app.pick(0, 0); await app.settled();")

    @property
    def selected(self) -> set[int]:
        """IDs of what is selected."""
        return set(self.app("return [...app.selected].map((p) => app.scene.objects[p - 1].id)"))

    def number(self, name: str) -> float:
        """A number of the app."""
        return self.app(f"return app.{name}")


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio of pictures in 0..1, dB."""
    return float(-10 * np.log10(max(((a - b) ** 2).mean(), 1e-12)))
