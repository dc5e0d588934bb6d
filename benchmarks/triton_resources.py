"""Compile the losses' Triton kernels without a GPU; print what each takes on a multiprocessor.

    python benchmarks/triton_resources.py --arch 86 90 --classes 256 --dims 16

Registers and stack (what did not fit into registers) as cuobjdump reads them from the code, shared
memory as Triton asks for it, and how many programs of four warps registers and shared memory leave
room for at once. Says nothing about time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # runs from a checkout that is not installed
os.environ["TRITON_INTERPRET"] = "0"  # nothing is to be run, and the interpreter does not compile

import triton  # noqa: E402
import triton.language as tl  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from gradiseg_core.splatting.losses import _identity_triton as head  # noqa: E402
from gradiseg_core.splatting.losses import _photometric_triton as photometric  # noqa: E402

REGISTERS = 65536  # of a multiprocessor, of every architecture from 70 to 90
SHARED_KB = {80: 164, 86: 100, 89: 100, 90: 228}  # of a multiprocessor

# Every argument that is not named here is a pointer to float32.
TYPES = {"labels": "*i16", "ids": "*i64", "best": "*i64"}
TYPES |= dict.fromkeys(("num_pixels", "num_classes", "num_ids", "height", "row", "stride"), "i32")
TYPES |= dict.fromkeys(("exponent", "l1_share", "ssim_share"), "fp32")
DIVISIBLE = ("num_classes", "stride")  # by 16, which Triton finds out for itself at run time


def kernels(num_classes: int, dim: int) -> list[tuple[str, Any, dict[str, Any]]]:
    """Return (label, kernel, its constants and how to compile it) as the losses launch them."""
    pixels = head.compiled_for(head.PIXELS_TILE, num_classes, dim)
    classes = head.compiled_for(head.CLASSES_TILE, num_classes, dim)
    loss = pixels | {"WEIGHTED": False, "ROBUST": False, "GRADIENT": True, "HALF": tl.bfloat16}
    everything = loss | {"WEIGHTED": True, "ROBUST": True}
    down = photometric.compiled_for(photometric.DOWN)
    along = photometric.compiled_for(photometric.ALONG)
    return [
        ("head: loss, dx", head.pixels_kernel, loss),
        ("head: loss, dx, weighted, robust", head.pixels_kernel, everything),
        ("head: loss alone", head.pixels_kernel, loss | {"GRADIENT": False}),
        ("head: dW, db", head.classes_kernel, classes | {"HALF": tl.bfloat16}),
        ("head: label", head.argmax_kernel, pixels),
        ("head: probabilities of IDs", head.softmax_kernel, pixels | {"OWN": False}),
        ("head: probability of the label", head.softmax_kernel, pixels | {"OWN": True}),
        ("SSIM 1: moments", photometric.moments_kernel, down),
        ("SSIM 2: similarity", photometric.similarity_kernel, along | {"GRADIENT": True}),
        ("SSIM 3: blur", photometric.blur_partials_kernel, along),
        ("SSIM 4: gradient", photometric.gradient_kernel, down),
    ]


def resources(kernel: Any, options: dict[str, Any], arch: int) -> dict[str, int]:
    """Compile one kernel; return its registers, stack and shared memory (bytes) and programs."""
    constants = {name: value for name, value in options.items() if name in kernel.arg_names}
    launch = {name: value for name, value in options.items() if name not in constants}
    signature = {
        name: "constexpr" if name in constants else TYPES.get(name, "*fp32")
        for name in kernel.arg_names
    }
    aligned = {
        (place,): [["tt.divisibility", 16]]
        for place, (name, kind) in enumerate(signature.items())
        if kind.startswith("*") or name in DIVISIBLE
    }
    built = triton.compile(
        ASTSource(kernel, signature, constants, aligned),
        target=GPUTarget("cuda", arch, 32),
        options=launch,
    )
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(built.asm["cubin"])
        file.flush()
        tool = triton.knobs.nvidia.cuobjdump.path
        text = subprocess.run(
            [tool, "-res-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", text)
    assert found is not None, text
    registers, stack = int(found[1]), int(found[2])
    shared = int(built.metadata.shared)
    by_registers = REGISTERS // (32 * launch["num_warps"] * 8 * -(-registers // 8))
    by_shared = SHARED_KB[arch] * 1024 // (shared + 1024)  # each program costs 1 KB more
    programs = min(by_registers, by_shared)
    return {"registers": registers, "stack": stack, "shared": shared, "programs": programs}


def main() -> None:
    """Print one line a kernel and architecture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--arch", type=int, nargs="+", default=[86, 90], choices=SHARED_KB)
    parser.add_argument("--classes", type=int, nargs="+", default=[256])
    parser.add_argument("--dims", type=int, nargs="+", default=[16])
    parser.add_argument("--json", action="store_true", help="one object a line")
    options = parser.parse_args()
    if not options.json:
        print(f"Triton {triton.__version__}")
        print("| kernel | C | D | sm | registers | stack, B | shared, B | programs |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for arch in options.arch:
        for classes in options.classes:
            for dim in options.dims:
                for label, kernel, how in kernels(classes, dim):
                    row: dict[str, Any] = {"kernel": label, "C": classes, "D": dim, "sm": arch}
                    row |= resources(kernel, how, arch)
                    cells = " | ".join(str(value) for value in row.values())
                    print(json.dumps(row) if options.json else f"| {cells} |", flush=True)


if __name__ == "__main__":
    main()
