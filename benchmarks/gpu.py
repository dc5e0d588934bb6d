"""Time the GPU core: every part, whole iterations, peak memory, and what the device allows.

    python benchmarks/gpu.py                    # everything, within --seconds
    python benchmarks/gpu.py --smoke            # the same code with tiny scenes on a CPU
    python benchmarks/gpu.py --sizes 0.1 1      # millions of Gaussians

Writes ``gpu.json`` and ``gpu.md`` to ``--out``. A part that fails (memory, a kernel that is
missing) is recorded with its error, and the others go on; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # runs from a checkout that is not installed

import torch  # noqa: E402

from benchmarks.gpu_parts import iteration, kernels, raster, scenes  # noqa: E402
from benchmarks.gpu_parts.table import markdown  # noqa: E402
from benchmarks.gpu_parts.timing import Results, device_rates  # noqa: E402
from gradiseg_core.compute.devices import prepare_allocator  # noqa: E402
from gradiseg_core.splatting.rasterization.gsplat import Operations, published  # noqa: E402

SIZE = (986, 728)  # px, LERF-Mask's
LARGE = (1600, 1064)  # px


def operations(smoke: bool) -> Operations:
    """Return gsplat's kernels, or for a smoke run what stands in for them."""
    if smoke:
        from benchmarks import gsplat_on_cpu

        return gsplat_on_cpu.operations()
    return published()


def jobs(
    options: argparse.Namespace, results: Results, run: Operations
) -> list[tuple[str, Callable[[], None]]]:
    """Return everything there is to measure, the most wanted first."""
    device = results.device
    size = (48, 32) if options.smoke else SIZE
    counts = [300] if options.smoke else [round(size * 1e6) for size in options.sizes]
    found: list[tuple[str, Callable[[], None]]] = [
        ("losses", lambda: kernels.measure_losses(results, *size))
    ]

    def with_scene(
        make: Callable[[], scenes.GpuScene], *parts: Callable[[scenes.GpuScene], None]
    ) -> Callable[[], None]:
        def job() -> None:
            scene = make()
            for part in parts:
                part(scene)

        return job

    def add(label: str, make: Callable[[], scenes.GpuScene]) -> None:
        found.append((f"iteration, {label}", with_scene(make, whole)))
        found.append((f"raster, {label}", with_scene(make, steps)))
        found.append((f"neighbours, Adam, {label}", with_scene(make, near, adam)))

    def whole(scene: scenes.GpuScene) -> None:
        iteration.measure(results, run, scene)

    def steps(scene: scenes.GpuScene) -> None:
        raster.measure(results, run, scene)

    def near(scene: scenes.GpuScene) -> None:
        kernels.measure_neighbours(results, scene)

    def adam(scene: scenes.GpuScene) -> None:
        kernels.measure_optimizer(results, scene)

    for count in sorted(counts, key=lambda count: abs(count - 1_000_000)):
        add(
            f"{count / 1e6:g} M",
            lambda count=count: scenes.synthetic(count, *size, device),  # type: ignore[misc]
        )
    if options.garden is not None:
        count = 300 if options.smoke else 1_000_000

        def make_garden() -> scenes.GpuScene:
            scene = scenes.garden(options.garden, count, device)
            if options.smoke:
                scene.K[:2] *= size[0] / scene.width
                scene.width, scene.height = size
            return scene

        add("garden", make_garden)
    if not options.smoke and max(counts) >= 3_000_000:
        found.append(
            (
                "iteration, large",
                with_scene(lambda: scenes.synthetic(max(counts), *LARGE, device), whole),
            )
        )
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="tiny scenes on a CPU")
    parser.add_argument("--sizes", type=float, nargs="+", default=[0.1, 0.5, 1.0, 3.0],
                        help="millions of Gaussians")  # fmt: skip
    parser.add_argument("--garden", type=Path, help="garden_points.npz of gsplat's tests")
    parser.add_argument("--seconds", type=float, default=420, help="no part starts after this")
    parser.add_argument("--each", type=float, default=0.7, help="seconds for one code")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args(arguments)
    begun = time.perf_counter()
    device = torch.device("cpu" if options.smoke else "cuda")
    prepare_allocator()  # as training does
    run = operations(options.smoke)
    each = 0.0 if options.smoke else options.each
    results = Results(device, device_rates(device, quick=options.smoke), each)
    failed: dict[str, str] = {}
    skipped: list[str] = []
    command = " ".join(["python", "benchmarks/gpu.py", *(arguments or sys.argv[1:])])
    options.out.mkdir(parents=True, exist_ok=True)

    def save() -> dict:
        summary = results.as_dict(command) | {"failed": failed, "skipped": skipped}
        summary["seconds"] = time.perf_counter() - begun
        (options.out / "gpu.json").write_text(json.dumps(summary, indent=1) + "\n")
        (options.out / "gpu.md").write_text(markdown(summary))
        return summary

    for name, job in jobs(options, results, run):
        if time.perf_counter() - begun > options.seconds:
            skipped.append(name)
            continue
        try:
            job()
        except Exception as error:  # one part must not cost the others
            failed[name] = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            print(f"{name}: {failed[name]}", file=sys.stderr, flush=True)
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        save()  # what was measured is kept whatever happens next
    print(markdown(save()))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
