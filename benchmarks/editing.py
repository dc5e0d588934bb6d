"""Time and memory of edits: ``python -m benchmarks.editing RUN OBJECT --gaussians 1000000``.

RUN is a trained scene, such as ``results/demo/gradiseg_plus/seed0``, OBJECT something in it. Its
Gaussians are drawn again until there are as many as are asked for, each moved within itself and
smaller, so that the scene looks about the same. Time is that of the edit alone, on the clock and of
the processor (which a busy machine does not change), after one edit of the small scene, which
compiles what is compiled on the first call. `fill` is that of the scene itself, with ten training
views of 640 x 480.
Aims (issue 18): an edit of 1 M Gaussians without fill in 5 s on two cores, fill in 60 s.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import gradiseg_core
from gradiseg_core.editing.scene import Scene
from gradiseg_core.splatting.gaussians import PARAMETERS

#: Edits of a large scene, by name, as operations on what is named.
EDITS: dict[str, Any] = {
    "remove (cut, halo, inside)": lambda what: [{"remove": what, "fill": False}],
    "remove (cut)": lambda what: [{"remove": what, "fill": False, "halo": False}],
    "recolour": lambda what: [{"recolour": what, "colour": "gold"}],
    "duplicate": lambda what: [{"duplicate": what, "by_m": [0.5, 0, 0]}],
}
#: Views that `fill` is measured with, and their size, px.
VIEWS, SIZE = 10, (640, 480)


def grown(scene: Scene, count: int, seed: int = 0) -> Scene:
    """Return a scene of ``count`` Gaussians that looks about like a small one."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(scene), (count,), generator=generator)
    values = {name: scene.values[name][rows].clone() for name in PARAMETERS}
    spread = values["scales"].exp()
    values["means"] += 0.5 * spread * torch.randn(count, 3, generator=generator)
    # As much surface in all, of more Gaussians.
    values["scales"] -= 0.5 * float(np.log(max(count / len(scene), 1.0)))
    return scene.changed(values, np.full(count, -1))


def timed(scene: Scene, edit: Any) -> tuple[float, float, Scene]:
    """Return seconds on the clock and of the processor, and the edited scene."""
    clock, processor = time.perf_counter(), time.process_time()
    edited = scene.edit(edit)
    return time.perf_counter() - clock, time.process_time() - processor, edited


def table(run: Path, what: Any, count: int) -> str:
    """Measure; return a table in Markdown."""
    small = gradiseg_core.load(run, device="cpu")
    lines = ["| edit | Gaussians | clock s | processor s |", "| --- | --- | --- | --- |"]
    timed(small, [{"remove": what}])
    large = grown(small, count)
    for name, edit in EDITS.items():
        clock, processor, _ = timed(large, edit(what))
        lines.append(f"| {name} | {count} | {clock:.1f} | {processor:.1f} |")
    names = [name for name, split in small.splits.items() if split == "train"]
    chosen = names[:: max(1, len(names) // VIEWS)][:VIEWS]
    small.__dict__["cameras"] = {name: small.cameras[name].resized(*SIZE) for name in chosen}
    clock, processor, _ = timed(small, [{"remove": what}])
    lines.append(
        f"| remove with fill, {len(chosen)} views of {SIZE[0]} x {SIZE[1]} | {len(small)} "
        f"| {clock:.1f} | {processor:.1f} |"
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return "\n".join([*lines, "", f"largest resident set {peak:.0f} MB"])


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("what", help="an object's name, or its ID")
    parser.add_argument("--gaussians", type=int, default=1_000_000)
    options = parser.parse_args()
    torch.set_num_threads(2)
    what = int(options.what) if options.what.isdigit() else options.what
    print(table(options.run, what, options.gaussians))


if __name__ == "__main__":
    main()
