"""Time and memory of exports: ``python -m benchmarks.exporting --gaussians 1000000``.

Each format is written by a process of its own, from a trained scene of random Gaussians on disk.
Time is that of loading and export together, on the clock and of the processor (which a busy machine
does not change); memory is the largest resident set, less that of a process that has imported the
same and loaded nothing, as a multiple of the scene's files.
Aims (issue 18): an export of 1 M Gaussians in 10 s on two cores, memory at most 3 times the file.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FORMATS = ("ply", "compressed_ply", "spz", "glb", "labels", "gaussian_grouping", "objects")


def write_scene(folder: Path, count: int) -> int:
    """Write a trained scene of random Gaussians; return the bytes of its files."""
    import torch

    from gradiseg_core.files.trained import save_trained
    from gradiseg_core.splatting.losses.identity import IdentityClassifier

    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(count, *shape, generator=generator)

    values = {
        "means": 3.0 * normal(3),
        "quats": normal(4),
        "scales": 0.5 * normal(3) - 4.0,
        "opacities": normal(),
        "sh0": normal(1, 3),
        "shN": 0.1 * normal(15, 3),
        "identities": normal(16),
    }
    metadata = {"sh_degree": 3, "iterations": 1, "background": "black"}
    save_trained(folder / "train", values, IdentityClassifier(32, 16), metadata)
    return sum(file.stat().st_size for file in (folder / "train").iterdir())


def measure(folder: Path, format: str | None, out: Path) -> dict[str, float]:
    """Export in this process; return seconds and the largest resident set, bytes.

    Args:
        folder: The scene.
        format: Of the export; None only imports what it takes.
        out: File or folder to write.
    """
    import gsply  # noqa: F401
    import torch

    import gradiseg_core
    from gradiseg_core.editing.export import export_scene
    from gradiseg_core.exporting import cameras, glb, grouping, packed, ply  # noqa: F401

    torch.set_num_threads(2)
    result: dict[str, float] = {}
    if format is not None:
        clock, processor = time.perf_counter(), time.process_time()
        export_scene(gradiseg_core.load(folder, device="cpu"), out, format)
        result["clock_s"] = time.perf_counter() - clock
        result["processor_s"] = time.process_time() - processor
        files = [out] if out.is_file() else [file for file in out.rglob("*") if file.is_file()]
        result["written_bytes"] = sum(file.stat().st_size for file in files)
    # Not getrusage: of a new process it begins with what its parent held.
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    result["peak_bytes"] = 1024 * int(found[1])
    return result


def in_a_process(folder: Path, format: str | None, out: Path) -> dict[str, float]:
    """Return :func:`measure` of a process of its own."""
    command = [sys.executable, "-m", "benchmarks.exporting", "--measure", str(folder), str(out)]
    done = subprocess.run(
        [*command, "--formats", *([format] if format else [])],
        capture_output=True,
        text=True,
        check=True,
    )
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def table(count: int, formats: list[str]) -> str:
    """Measure; return a table in Markdown."""
    lines = [
        "| format | clock s | processor s | written MB | peak memory / scene's files |",
        "| --- | --- | --- | --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = write_scene(folder, count)
        # What is compiled on the first call in an environment is not the export's time.
        warm = folder / "warm"
        write_scene(warm, 1000)
        empty = in_a_process(folder, None, folder / "nothing")["peak_bytes"]
        for format in formats:
            in_a_process(warm, format, folder / f"warm_{format}")
            measured = in_a_process(folder, format, folder / f"out_{format}")
            lines.append(
                f"| {format} | {measured['clock_s']:.1f} | {measured['processor_s']:.1f} | "
                f"{measured['written_bytes'] / 1e6:.0f} | "
                f"{(measured['peak_bytes'] - empty) / size:.2f} |"
            )
    return "\n".join([f"{count} Gaussians, {size / 1e6:.0f} MB of files", "", *lines])


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gaussians", type=int, default=1_000_000)
    parser.add_argument("--formats", nargs="*", default=list(FORMATS))
    parser.add_argument("--measure", nargs=2, metavar=("SCENE", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is None:
        print(table(options.gaussians, options.formats))
        return
    folder, out = map(Path, options.measure)
    print(json.dumps(measure(folder, next(iter(options.formats), None), out)))


if __name__ == "__main__":
    main()
