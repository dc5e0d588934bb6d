"""How the page of a large scene loads, sorts and picks, in Chromium without a GPU.

    python -m benchmarks.viewer results/demo/gradiseg_plus/seed0 --count 1000000

The Gaussians of a run are repeated with noise (each copy smaller, within the Gaussian it came from)
until there are enough. Drawing is by SwiftShader, on the CPU, and says nothing about a GPU; what
is measured is what a GPU does not do: size, reading, upload, sorting, picking.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gradiseg_core.config.view import ViewConfig
from gradiseg_core.editing.scene import Scene, load
from gradiseg_core.splatting.rasterization.reference import rotation_matrices
from gradiseg_core.stages.view.page import write_page
from gradiseg_core.stages.view.stage import parts_of
from tests.stages.view.browser import ARGUMENTS, chromium

_TENSORS = ("means", "quats", "scales", "opacities", "sh0", "shN", "identities")


def enlarged(scene: Scene, count: int, seed: int = 0) -> Scene:
    """Return a scene of ``count`` Gaussians around those of another one."""
    generator = torch.Generator().manual_seed(seed)
    trained = scene.trained
    rows = torch.arange(count) % len(trained.means)
    values = {name: getattr(trained, name)[rows].detach() for name in _TENSORS}

    def noise(name: str, scale: float) -> torch.Tensor:
        return scale * torch.randn(values[name].shape, generator=generator)

    along = values["scales"].exp() * torch.randn(count, 3, generator=generator)
    axes = rotation_matrices(values["quats"])
    values["means"] = values["means"] + (axes @ along[..., None])[..., 0]
    values["scales"] = values["scales"] - 0.5 * np.log(count / len(trained.means))
    values["scales"] = values["scales"] + noise("scales", 0.3)
    values["quats"] = torch.nn.functional.normalize(values["quats"], dim=1) + noise("quats", 0.15)
    values["opacities"] = values["opacities"] + noise("opacities", 0.5)
    values["sh0"] = values["sh0"] + noise("sh0", 0.15)
    values["shN"] = values["shN"] + noise("shN", 0.02)
    values["identities"] = values["identities"] + noise("identities", 0.05)
    return Scene(replace(trained, **values), scene.run, scene.frame)


def measured(page: Path, draws: bool) -> dict[str, Any]:
    """Return times of a page, ms."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        view = browser.new_page(viewport={"width": 240, "height": 180}, reduced_motion="reduce")
        if not draws:  # SwiftShader takes seconds for what a GPU takes milliseconds for
            view.add_init_script(
                "WebGL2RenderingContext.prototype.drawArraysInstanced = function () {};"
            )
        start = time.perf_counter()
        view.goto(page.resolve().as_uri())
        view.wait_for_selector("html[data-state=ready]", timeout=300_000)
        ready = 1000 * (time.perf_counter() - start)
        result = view.evaluate(
            """async () => {
              const app = await gradiseg;
              const median = (a) => [...a].sort((x, y) => x - y)[a.length >> 1];
              const timed = async (work, n) => {
                const took = [];
                for (let i = 0; i < n; i++) {
                  const start = performance.now();
                  await work(i);
                  took.push(performance.now() - start);
                }
                return median(took);
              };
              const { start, read, uploaded } = app.times;
              app.times.sort = [];
              for (let i = 0; i < 15; i++) {
                app.camera.orbit(0.2, 0.01);
                app.cameraMoved();
                await app.settled();
              }
              const order = new Uint32Array(app.splats.count);
              const gl = app.renderer.gl;
              const upload = await timed(() => {
                app.renderer.setOrder(order, order.length, 1, 2);
                gl.finish();
              }, 9);
              const pick = await timed((i) => app.pick(60 + 10 * i, 90), 9);
              return {
                html_to_script: start, read: read - start, upload: uploaded - read,
                sort: median(app.times.sort), order_upload: upload, pick,
                heap_mb: performance.memory ? performance.memory.usedJSHeapSize / 1e6 : null,
              };
            }"""
        )
        browser.close()
    return {"ready": ready} | result


def main() -> None:
    """Print sizes and times as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, help="results/<scene>/<variant>/seed<n>")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--draw", action="store_true", help="let SwiftShader draw as well")
    parser.add_argument("--out", type=Path, help="keep the page here")
    options = parser.parse_args()
    scene = enlarged(load(options.run, device="cpu"), options.count)
    start = time.perf_counter()
    assert scene.run.scene is not None
    parts = parts_of(scene, scene.run.scene / "tracking", ViewConfig(max_gaussians=options.count))
    with tempfile.TemporaryDirectory() as folder:
        page = options.out or Path(folder) / "view.html"
        write_page(page, *parts.page)
        facts = {
            "gaussians": parts.scene["splats"]["count"],
            "written_s": time.perf_counter() - start,
            "bytes": page.stat().st_size,
            "bytes_a_gaussian": len(parts.splats) / parts.scene["splats"]["count"],
        }
        facts |= measured(page, options.draw)
    rounded = {k: round(v, 1) if isinstance(v, float) else v for k, v in facts.items()}
    print(json.dumps(rounded, indent=1))


if __name__ == "__main__":
    main()
