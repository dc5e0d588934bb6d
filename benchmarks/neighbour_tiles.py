"""Count what the neighbour searches' kernel costs in instructions, without a GPU.

    python benchmarks/neighbour_tiles.py

Compiles the kernel for sm_90 with several tiles and reads the machine code: registers, stack (what
did not fit), instructions of a thread for a pair of sample and Gaussian that inserts nothing, and
of all warps for one insertion ("?" where the loops are not recognised: other versions of Triton
arrange them differently). Says nothing about time.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # runs from a checkout that is not installed
os.environ["TRITON_INTERPRET"] = "0"  # nothing is to be run, and the interpreter does not compile

import triton  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from gradiseg_core.splatting.neighbours._stream_triton import stream_kernel  # noqa: E402

TILES = ((2, 128, 1), (4, 64, 1), (4, 128, 1), (4, 256, 1), (8, 64, 1), (8, 128, 1), (8, 256, 4))
TYPES = {"points": "*fp32", "sample": "*i64", "directions": "*fp32", "partial": "*i64"}
TYPES |= dict.fromkeys(("count", "samples", "share"), "i32")
ALIGNED = {(place,): [["tt.divisibility", 16]] for place in (0, 1, 2, 3, 4, 6)}  # all but samples


def compile_kernel(k: int, ahead: bool, tile: tuple[int, int, int]) -> bytes:
    """Return the machine code for one tile."""
    samples, gaussians, warps = tile
    slots = max(2, triton.next_power_of_2(k))
    constants = {"K": k, "SLOTS": slots, "AHEAD": ahead, "BLOCK_M": samples, "BLOCK_N": gaussians}
    source = ASTSource(
        stream_kernel, TYPES | dict.fromkeys(constants, "constexpr"), constants, ALIGNED
    )
    options = {"num_warps": warps, "enable_fp_fusion": True}
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["cubin"]


def read(cubin: bytes) -> tuple[int, int, list[str], dict[str, int]]:
    """Return registers, stack, instructions, and where in them each label stands."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()

        def run(*command: str) -> str:
            return subprocess.run(
                [*command, file.name], capture_output=True, text=True, check=True
            ).stdout

        usage = run(triton.knobs.nvidia.cuobjdump.path, "-res-usage")
        code = run(triton.knobs.nvidia.nvdisasm.path, "-c")
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    assert found is not None, usage
    labels: dict[str, int] = {}
    instructions: list[str] = []
    for line in code.splitlines():
        label = re.match(r"(\.L_x_\d+):", line)
        if label:
            labels[label[1]] = len(instructions)
        elif re.search(r"/\*[0-9a-f]{4}\*/", line):
            instructions.append(line)
    return int(found[1]), int(found[2]), instructions, labels


def loops(
    instructions: list[str], labels: dict[str, int], pairs: float
) -> tuple[list[str], list[str]] | None:
    """Return the instructions of a block without insertions, and of one round of insertions.

    Args:
        instructions: All of the kernel.
        labels: Where in them each label stands.
        pairs: Of a thread in a block, which are six floating-point operations each at least.
    """
    jumps = [
        (place, labels[found[1]])
        for place, line in enumerate(instructions)
        if (found := re.search(r"BRA.*?(\.L_x_\d+)", line))
    ]
    back = [(target, place) for place, target in jumps if target < place]
    start, end = max(back, key=lambda loop: loop[1] - loop[0])
    first, last = min(back, key=lambda loop: loop[1] - loop[0])
    # The way around the insertions: the first jump in the outer loop to behind the inner one.
    around = next((j for j in jumps if start <= j[0] < end and last < j[1] <= end), None)
    if around is None:
        return None
    block = instructions[start : around[0] + 1] + instructions[around[1] : end + 1]
    arithmetic = sum(bool(re.search(r"\b(FADD|FMUL|FFMA)\b", line)) for line in block)
    plausible = arithmetic >= 6 * pairs and len(block) < 40 * pairs
    return (block, instructions[first : last + 1]) if plausible else None


def main() -> None:
    """Print one row a tile: LA-KNN with K = 5, then global KNN with 32."""
    print(f"Triton {triton.__version__}, sm_90")
    print("| search | samples x Gaussians, warps | registers | stack | a pair | an insertion |")
    print("| --- | --- | --- | --- | --- | --- |")
    for search, k, ahead in (("LA-KNN, K = 5", 5, True), ("global KNN, K = 32", 32, False)):
        for tile in TILES:
            samples, gaussians, warps = tile
            registers, stack, instructions, labels = read(compile_kernel(k, ahead, tile))
            pairs = samples * gaussians / (32 * warps)
            found = loops(instructions, labels, pairs)
            counts = "? | ?"
            if found is not None:
                counts = f"{len(found[0]) / pairs:.1f} | {len(found[1]) * warps}"
            print(
                f"| {search} | {samples} x {gaussians}, {warps} | {registers} | {stack} | "
                f"{counts} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
