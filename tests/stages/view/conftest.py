"""A small scene as a page, and a browser to open it in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gradiseg_core.config.view import ViewConfig
from gradiseg_core.editing.scene import Scene, load
from gradiseg_core.files.images import write_image
from gradiseg_core.files.trained import load_trained, save_trained
from gradiseg_core.stages.view.stage import write_view
from tests import trained_scene
from tests.stages.view.browser import ARGUMENTS, Viewer, chromium

SIZE = (96, 72)
#: Tracked IDs of the balls, and what prompts call them; the third has no name.
RED, GREEN, BLUE = 3, 1, 5


@dataclass(frozen=True)
class Made:
    """A run with its page.

    Attributes:
        folders: Stages 1 to 5.
        run: `<variant>/seed0`.
        page: `view.html`.
        scene: The run, as the core reads it.
    """

    folders: trained_scene.Folders
    run: Path
    page: Path
    scene: Scene

    @property
    def cameras(self) -> list[Any]:
        return list(self.scene.cameras.values())

    def place(self, index: int) -> int:
        """The place of an ID in the page's table of objects."""
        return 1 + [row.id for row in self.scene.objects if row.id > 0].index(index)


def with_shapes_and_harmonics(train_dir: Path) -> None:
    """Turn, stretch and shade the balls' Gaussians, so that every part of drawing is tested."""
    trained = load_trained(train_dir)
    generator = torch.Generator().manual_seed(3)
    count = len(trained.means)
    stretch = 0.5 * torch.randn(count, 3, generator=generator).clamp(-1.5, 1.5)
    values = {
        "means": trained.means,
        "quats": torch.randn(count, 4, generator=generator),
        "scales": trained.scales + stretch,
        "opacities": torch.logit(torch.empty(count).uniform_(0.3, 0.97, generator=generator)),
        "sh0": trained.sh0,
        "shN": 0.08 * torch.randn(count, 15, 3, generator=generator),
        "identities": trained.identities,
    }
    save_trained(train_dir, values, trained.classifier, trained.metadata | {"sh_degree": 3})


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("page") / "results" / "balls"
    folders = trained_scene.make(root, views=12, width=SIZE[0], height=SIZE[1])
    with_shapes_and_harmonics(folders.train)
    for index in (RED, GREEN):  # none for the third
        picture = np.full((64, 64, 3), 40 * index, np.uint8)
        write_image(folders.tracking / "objects" / f"{index}.png", picture)
    write_image(
        folders.render / "side_by_side" / "view_000.png", np.full((40, 90, 3), 99, np.uint8)
    )
    folders.grounding.mkdir()
    prompts = {"red <b>ball</b>": {"ids": [RED]}, "green ball": {"ids": [GREEN]}}
    (folders.grounding / "selection.json").write_text(json.dumps({"prompts": prompts}))
    run = folders.train.parent
    page = run / "view.html"
    write_view(run, folders.tracking, page, ViewConfig(), threads=1)
    return Made(folders, run, page, load(run, device="cpu"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is missing: pip install playwright"
    )
    path = chromium()
    if path is None:
        pytest.skip("no Chromium: install one (apt-get install chromium), or set GRADISEG_CHROMIUM")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield opened
        opened.close()


def opened(browser: Any, **options: Any) -> Viewer:
    """A new page in a context of its own, cut off from the network."""
    options = {"viewport": {"width": 900, "height": 600}, "reduced_motion": "reduce"} | options
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"], **options)
    context.set_offline(True)
    viewer = Viewer(context.new_page())
    page = viewer.page
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith(("data:", "blob:"))
            else viewer.requests.append(request.url)
        ),
    )
    page.on("pageerror", lambda error: viewer.problems.append(str(error)))
    page.on(
        "console",
        lambda message: (
            viewer.problems.append(message.text) if message.type in ("error", "warning") else None
        ),
    )
    return viewer


@pytest.fixture(scope="session")
def shared(browser: Any, made: Made) -> Iterator[Viewer]:
    viewer = opened(browser, device_scale_factor=0.5)  # a quarter of the pixels to draw
    viewer.open(made.page)
    yield viewer
    viewer.page.context.close()


@pytest.fixture
def view(shared: Viewer) -> Viewer:
    """The page of the small scene, as it was when it was opened."""
    shared.reset()
    return shared


@pytest.fixture
def fresh(browser: Any) -> Iterator[Viewer]:
    """A page that nothing was opened in yet."""
    viewer = opened(browser)
    yield viewer
    viewer.page.context.close()
