"""The searches for GPUs: their kernel in Triton's interpreter, on a GPU, and compiled ahead."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gradiseg_core.splatting.neighbours import cuda
from gradiseg_core.splatting.neighbours.cuda import CudaKnn, columns, la_knn_cuda, nearest_by_torch
from gradiseg_core.splatting.neighbours.knn import GlobalKnn, make_knn, neighbours_ahead
from gradiseg_core.splatting.neighbours.la_knn import la_knn

REPOSITORY = Path(__file__).resolve().parents[3]
SIZES = [(1, 1, 2), (2, 2, 3), (33, 33, 5), (300, 9, 1), (4099, 3, 5), (6001, 5, 33)]


def exact_scene(count: int, samples: int, device: torch.device):
    """Return small integers: every distance is exact in float32, and many are equal."""
    generator = torch.Generator().manual_seed(count)
    means = torch.randint(-9, 10, (count, 3), generator=generator).float()
    sample = torch.randperm(count, generator=generator)[:samples]
    directions = torch.randint(-3, 4, (samples, 3), generator=generator).float()
    return means.to(device), sample.to(device), directions.to(device)


def smooth_scene(count: int, samples: int, device: torch.device, scale: float = 10.0):
    generator = torch.Generator().manual_seed(count)
    means = scale * torch.randn(count, 3, generator=generator)
    sample = torch.randperm(count, generator=generator)[:samples]
    directions = torch.randn(samples, 3, generator=generator)
    directions = torch.nn.functional.normalize(directions, dim=1)
    return means.to(device), sample.to(device), directions.to(device)


def distances(means, sample, directions=None):
    """Return [M, N] float64, infinite for what is no neighbour."""
    points = means.cpu().double()
    offsets = points - points[sample.cpu()][:, None]
    if directions is None:
        d = offsets.square().sum(dim=2)
    else:
        d = (offsets * directions.cpu().double()[:, None]).sum(dim=2)
        d = d.where(d > 0, torch.inf)
    d[torch.arange(len(sample)), sample.cpu()] = torch.inf
    return d.nan_to_num(nan=torch.inf, posinf=torch.inf)


def nearest(d, k):
    """Return [M, k]: the smallest, among equals the smaller index, -1 beyond the finite ones."""
    d = torch.nn.functional.pad(d, (0, k), value=torch.inf)
    values, order = d.sort(dim=1, stable=True)
    return order.masked_fill(values.isinf(), -1)[:, :k]


@pytest.mark.parametrize(("count", "samples", "k"), SIZES)
def test_exact_distances_give_float64s_neighbours(triton_device, count, samples, k) -> None:
    means, sample, directions = exact_scene(count, samples, triton_device)
    ahead = la_knn_cuda(means, sample, directions, k)
    assert ahead.device.type == triton_device.type
    assert ahead.cpu().tolist() == nearest(distances(means, sample, directions), k).tolist()
    knn = CudaKnn()
    knn.update(means)
    assert len(knn) == count
    assert knn.query(sample, k).cpu().tolist() == nearest(distances(means, sample), k).tolist()


@pytest.mark.parametrize("scale", [1e-3, 10.0])
def test_any_distances_give_float64s_up_to_rounding(triton_device, scale) -> None:
    means, sample, directions = smooth_scene(5000, 12, triton_device, scale)
    knn = CudaKnn()
    knn.update(means)
    found = {
        "ahead": (la_knn_cuda(means, sample, directions, 5), directions),
        "nearest": (knn.query(sample, 5), None),
    }
    for name, (got, along) in found.items():
        d = distances(means, sample, along)
        expected = nearest(d, 5)
        # Float32 may swap two whose distances agree to its rounding, and nothing else.
        rounding = 4e-7 * scale * (1 if along is not None else scale)
        picked = d.gather(1, got.cpu())
        assert ((picked - d.gather(1, expected)).abs() <= rounding).all(), name
        assert (got.cpu() != expected).float().mean() < 0.05, name


def test_the_cpus_searches_agree(triton_device) -> None:
    means, sample, directions = smooth_scene(900, 11, triton_device)
    plain = (means.cpu(), sample.cpu(), directions.cpu())
    knn = CudaKnn()
    knn.update(means)
    assert torch.equal(knn.query(sample, 6).cpu(), GlobalKnn(plain[0]).query(plain[1], 6))
    for candidates in ("all", 32, 899, 5000):
        ours = la_knn_cuda(means, sample, directions, 5, candidates=candidates)
        theirs = la_knn(*plain, 5, candidates=candidates, knn=GlobalKnn(plain[0]))
        assert torch.equal(ours.cpu(), theirs), candidates


def test_any_order_of_gaussians(triton_device) -> None:
    """Falling distances replace the list in every block; the filter must not lose any."""
    means, sample, directions = smooth_scene(3000, 4, triton_device)
    directions[:] = torch.tensor([1.0, 0, 0], device=triton_device)
    for descending in (False, True):
        means = means[means[:, 0].argsort(descending=descending)].contiguous()
        got = la_knn_cuda(means, sample, directions, 5)
        assert torch.equal(got.cpu(), nearest(distances(means, sample, directions), 5))


def test_no_direction_no_neighbours_and_lost_gaussians(triton_device) -> None:
    means, sample, directions = exact_scene(300, 5, triton_device)
    directions[0] = 0.0
    directions[1, 1] = float("nan")
    directions[2, 0] = float("inf")
    directions[3:] = torch.tensor([1.0, 2.0, 0.0], device=triton_device)
    others = sorted(set(range(300)) - set(sample.tolist()))
    means[others[0]] = float("nan")
    means[others[1], 2] = float("inf")
    for candidates in ("all", 200):
        got = la_knn_cuda(means, sample, directions, 5, candidates=candidates).cpu()
        assert (got[:3] == -1).all()
        assert (got[3:] >= 0).all()
        assert not set(got.flatten().tolist()) & set(others[:2])
    knn = CudaKnn()
    knn.update(means)
    assert not set(knn.query(sample, 40).flatten().tolist()) & set(others[:2])
    lost = torch.tensor([others[0]], device=triton_device)
    assert (knn.query(lost, 3) == -1).all()


def test_samples_that_do_not_exist_have_no_neighbours(triton_device) -> None:
    means, _, _ = exact_scene(300, 5, triton_device)
    knn = CudaKnn()
    knn.update(means)
    sample = torch.tensor([-1, 300, 1 << 40, 7], device=triton_device)
    found = knn.query(sample, 4).cpu()
    assert (found[:3] == -1).all()
    assert (found[3] >= 0).all()


def test_duplicates_are_neighbours_and_never_the_sample(triton_device) -> None:
    means = torch.zeros(50, 3, device=triton_device)
    means[40:] += 5.0
    knn = CudaKnn()
    knn.update(means)
    found = knn.query(torch.tensor([0, 7, 45], device=triton_device), 4)
    assert found.tolist() == [[1, 2, 3, 4], [0, 1, 2, 3], [40, 41, 42, 43]]


def test_the_centres_are_kept_until_updated(triton_device) -> None:
    means = torch.tensor([[0.0, 0, 0], [1, 0, 0], [3, 0, 0]], device=triton_device)
    sample = torch.tensor([0], device=triton_device)
    knn = CudaKnn()
    knn.update(means)
    means[2] = torch.tensor([0.1, 0.0, 0.0])
    assert knn.query(sample, 1).tolist() == [[1]]
    knn.update(means)
    assert knn.query(sample, 1).tolist() == [[2]]
    assert knn.query(sample[:0], 2).shape == (0, 2)


@pytest.mark.parametrize("tile", [(2, 128, 2), (8, 256, 4), (16, 64, 1)])
def test_how_the_work_is_divided_changes_nothing(triton_device, tile) -> None:
    from gradiseg_core.splatting.neighbours._stream_triton import Tile, search

    means, sample, directions = exact_scene(4200, 6, triton_device)
    points = columns(means)
    for along in (None, directions):
        expected = nearest(distances(means, sample, along), 7)
        assert torch.equal(search(points, sample, 7, along, Tile(*tile)).cpu(), expected)


def test_without_triton_pytorch_does_the_same(monkeypatch) -> None:
    monkeypatch.setattr(cuda, "runs_on", lambda device: False)
    means, sample, directions = smooth_scene(700, 20, torch.device("cpu"))
    knn = CudaKnn()
    knn.update(means)
    assert torch.equal(knn.query(sample, 5), nearest(distances(means, sample), 5))
    for candidates in ("all", 30):
        got = la_knn_cuda(means, sample, directions, 5, candidates=candidates)
        expected = la_knn(means, sample, directions, 5, candidates=candidates, knn=GlobalKnn(means))
        assert torch.equal(got, expected)


def test_pytorchs_chunks_and_many_neighbours(monkeypatch) -> None:
    means, sample, _ = smooth_scene(700, 20, torch.device("cpu"))
    means[5] = float("nan")
    monkeypatch.setattr(cuda, "_PAIRS", 20 * 64)
    expected = nearest(distances(means, sample), 5)
    assert torch.equal(nearest_by_torch(means, sample, 5), expected)
    knn = CudaKnn()
    knn.update(means)
    many = cuda.MOST + 36
    assert torch.equal(knn.query(sample, many), nearest(distances(means, sample), many))
    few = nearest_by_torch(means[:3], torch.tensor([0]), 4)
    assert (few[0] >= 0).tolist() == [True, True, False, False]


def test_dispatch_goes_by_the_device(monkeypatch) -> None:
    assert isinstance(make_knn(torch.device("cuda")), CudaKnn)
    assert isinstance(make_knn(torch.device("cpu")), GlobalKnn)
    means, sample, directions = smooth_scene(200, 9, torch.device("cpu"))
    tree = make_knn(means.device)
    tree.update(means)
    for candidates in ("all", 20):
        got = neighbours_ahead(means, sample, directions, 5, candidates=candidates, knn=tree)
        expected = la_knn(means, sample, directions, 5, candidates=candidates, knn=GlobalKnn(means))
        assert torch.equal(got, expected)


def test_wrong_use_is_refused() -> None:
    means, sample, directions = exact_scene(30, 5, torch.device("cpu"))
    knn = CudaKnn()
    with pytest.raises(ValueError, match="call update"):
        knn.query(sample, 1)
    with pytest.raises(ValueError, match=r"\[N, 3\]"):
        knn.update(torch.zeros(3, 2))
    knn.update(means)
    with pytest.raises(ValueError, match="at least 1"):
        knn.query(sample, 0)
    with pytest.raises(ValueError, match=r"directions \[M, 3\]"):
        la_knn_cuda(means, sample, directions[0], 2)
    with pytest.raises(ValueError, match="'some'"):
        la_knn_cuda(means, sample, directions, 2, candidates="some")


COMPILE = """
from benchmarks.neighbour_tiles import compile_kernel, read
from gradiseg_core.splatting.neighbours._stream_triton import DEFAULT

for k, ahead in ((5, True), (5, False), (32, False)):
    registers, stack, instructions, _ = read(compile_kernel(k, ahead, DEFAULT))
    print(registers, stack, sum("LDG.E.128" in line for line in instructions))
"""


def test_the_kernel_compiles_ahead_for_compute_capability_90(tmp_path) -> None:
    pytest.importorskip("triton", reason="needs Triton, which PyTorch brings on Linux")
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", COMPILE]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [list(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(rows) == 3
    for registers, stack, wide in rows:
        assert registers <= 80  # room for 24 programs of a warp on a multiprocessor (_WARPS)
        assert stack == 0
        assert wide >= 3  # a coordinate of 128 Gaussians in one load of a warp


@pytest.mark.gpu
def test_gpu_a_million_gaussians() -> None:
    """Against PyTorch in float64 on the GPU; float32 may swap what agrees to its rounding."""
    means, sample, directions = smooth_scene(1_000_000, 1000, torch.device("cuda"))
    got = la_knn_cuda(means, sample, directions, 5)
    expected = la_knn(means.double(), sample, directions.double(), 5, backend="torch")
    assert (got != expected).float().mean() < 0.02
    knn = CudaKnn()
    knn.update(means)
    expected = nearest_by_torch(means.double(), sample, 32)
    assert (knn.query(sample, 32) != expected).float().mean() < 0.02


@pytest.mark.gpu
@pytest.mark.parametrize("candidates", ["all", 32])
def test_gpu_nothing_waits_for_the_device(candidates) -> None:
    means, sample, directions = smooth_scene(10_000, 100, torch.device("cuda"))
    la_knn_cuda(means, sample, directions, 5, candidates=candidates)  # compiles
    torch.cuda.set_sync_debug_mode("error")
    try:
        la_knn_cuda(means, sample, directions, 5, candidates=candidates)
    finally:
        torch.cuda.set_sync_debug_mode("default")
