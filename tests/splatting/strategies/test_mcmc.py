from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from gradiseg_core.config.parts import Densification, Mcmc
from gradiseg_core.config.train import Losses, TrainConfig
from gradiseg_core.splatting.gaussians import PARAMETERS
from gradiseg_core.splatting.parts import Schedule
from gradiseg_core.splatting.strategies import mcmc
from gradiseg_core.splatting.strategies.mcmc import McmcStrategy, relocated
from gradiseg_core.splatting.strategies.surgery import rotation_matrices
from gradiseg_core.splatting.trainer import Trainer
from gradiseg_core.stages.training.data import load_training_data
from tests.splatting.gaussians.made import make, step
from tests.synthetic import write_scene


def strategy(seed: int = 0, max_gaussians: int | None = None, **options: object) -> McmcStrategy:
    generator = torch.Generator().manual_seed(seed)
    return McmcStrategy(
        Densification(kind="mcmc", **options),  # type: ignore[arg-type]
        Schedule(30_000),
        max_gaussians=max_gaussians,
        generator=generator,
        noise_generator=generator,
    )


def kernel(opacity: float, count: int) -> tuple[float, float]:
    """gsplat's RelocationCUDA.cu, line by line."""
    new = 1 - (1 - opacity) ** (1 / count)
    total = 0.0
    for i in range(1, count + 1):
        for k in range(i):
            total += math.comb(i - 1, k) * (-1) ** k / math.sqrt(k + 1) * new ** (k + 1)
    return new, opacity / total


@pytest.mark.parametrize("count", [1, 2, 3, 10, 51])
@pytest.mark.parametrize("opacity", [0.01, 0.5, 0.9, 0.999])
def test_relocation_is_the_published_kernels(count: int, opacity: float) -> None:
    got = relocated(torch.tensor([opacity], dtype=torch.float64), torch.tensor([count]))
    expected = kernel(opacity, count)
    assert [value.item() for value in got] == pytest.approx(expected, rel=1e-9)


def test_copies_together_let_through_what_the_one_did() -> None:
    opacity = torch.tensor([0.3, 0.8])
    new, factor = relocated(opacity, torch.tensor([1, 4]))
    torch.testing.assert_close((1 - new) ** torch.tensor([1, 4]), 1 - opacity)
    assert factor[0] == pytest.approx(1.0)
    assert factor[1] < 1
    # More copies than Eq. 9 is evaluated for count as that many.
    for many in (51, 99):
        assert relocated(opacity, torch.tensor([many, many]))[0][0] == pytest.approx(
            kernel(0.3, 51)[0], rel=1e-4
        )


def test_the_dead_move_onto_the_living() -> None:
    gaussians = make(6)
    gaussians.params["opacities"].data[:] = torch.tensor([-9.0, 2.0, -9.0, 1.0, -9.0, -9.0])
    step(gaussians)
    gaussians.params["opacities"].data[:] = torch.tensor([-9.0, 2.0, -9.0, 1.0, -9.0, -9.0])
    gaussians.statistics["watched"] = torch.ones(6)
    before = {name: gaussians.params[name].data.clone() for name in PARAMETERS}
    assert strategy().relocate(gaussians) == 4
    params = {name: value.data for name, value in gaussians.params.items()}
    moment = gaussians.first_moment("means")
    assert moment is not None
    copies = {1: 0, 3: 0}
    for row in (0, 2, 4, 5):
        source = min((1, 3), key=lambda s: (params["means"][row] - before["means"][s]).norm())
        copies[source] += 1
        for name in PARAMETERS:
            assert torch.equal(params[name][row], params[name][source])
        assert (moment[row] == 0).all()
        assert gaussians.statistics["watched"][row] == 0
    for source, count in copies.items():
        opacity = before["opacities"][source].sigmoid().item()
        new, factor = kernel(opacity, count + 1)
        assert params["opacities"][source].sigmoid().item() == pytest.approx(new, rel=1e-5)
        scales = before["scales"][source].exp() * factor
        torch.testing.assert_close(params["scales"][source].exp(), scales)
        assert (moment[source] == 0).all() == (count > 0)
    assert gaussians.first_moment("means") is moment  # nothing was rebuilt
    assert strategy().relocate(gaussians) == 0


def test_nothing_moves_where_all_are_dead() -> None:
    gaussians = make(4)
    gaussians.params["opacities"].data.fill_(-9.0)
    assert strategy().relocate(gaussians) == 0


def test_growth_stops_at_the_budget() -> None:
    gaussians = make(100)
    step(gaussians)
    budgeted = strategy(max_gaussians=108)
    assert [budgeted.add(gaussians) for _ in range(3)] == [5, 3, 0]
    assert len(gaussians) == 108
    moment = gaussians.first_moment("means")
    assert moment is not None
    assert (moment[100:] == 0).all()
    step(gaussians)  # parameters and moments still agree
    assert strategy().max_gaussians == 1_000_000


def test_draws_go_by_opacity() -> None:
    weights = torch.tensor([0.0, 1.0, 3.0, 0.0, 4.0, 0.0])
    drawn = strategy()._draw(weights, 40_000)
    share = torch.bincount(drawn, minlength=6) / 40_000
    assert (share[weights == 0] == 0).all()
    assert (share - weights / 8).abs().max() < 0.0125  # 5 sigma
    # The upper end, where the draw and the last sum may round to the same number
    drawing = strategy()
    drawing.generator = None  # type: ignore[assignment]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "rand", lambda *a, **k: torch.ones(1, dtype=torch.float64))
        assert drawing._draw(weights, 1).tolist() == [4]


def test_noise_has_the_gaussians_shape_and_spares_the_opaque(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = 20_000
    gaussians = make(count)
    for name in ("quats", "scales"):
        gaussians.params[name].data[:] = gaussians.params[name].data[0]
    gaussians.params["opacities"].data[:] = -7.0
    gaussians.params["opacities"].data[: count // 2] = 1.0
    before = gaussians.params["means"].data.clone()
    rate = 1e-2
    monkeypatch.setattr(mcmc, "NOISE", 50.0)
    strategy().shake(gaussians)
    moved = (gaussians.params["means"].data - before) / (rate * 50.0)
    assert moved[: count // 2].abs().max() < 1e-6
    opacity = torch.tensor(-7.0).sigmoid()
    strength = 1 / (1 + torch.exp(-100 * (1 - opacity - 0.995)))
    rotation = rotation_matrices(gaussians.params["quats"].data[:1])[0]
    sigma = rotation @ torch.diag(gaussians.scales[0] ** 2) @ rotation.T
    expected = strength**2 * sigma @ sigma.T
    torch.testing.assert_close(torch.cov(moved[count // 2 :].T), expected, rtol=0.1, atol=0.05)


def test_penalty_is_of_opacity_and_size() -> None:
    gaussians = make(7)
    penalised = strategy(mcmc=Mcmc(opacity_penalty=0.5, scale_penalty=0.25))
    penalty = penalised.penalty(1, gaussians)
    assert penalty is not None
    expected = 0.5 * gaussians.opacities.mean() + 0.25 * gaussians.scales.mean()
    torch.testing.assert_close(penalty, expected)
    penalty.backward()
    assert gaussians.params["opacities"].grad is not None


def test_a_run_keeps_its_budget_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    config = TrainConfig(
        iterations=120,
        num_classes="auto",
        losses=Losses(samples=50),
        densification=Densification(kind="mcmc", every=500, max_gaussians=900),
    )
    data = load_training_data(*write_scene(tmp_path), config)
    whole = Trainer(data, config, 1)
    first = Trainer(data, config, 1)
    start = len(whole.gaussians)
    counts = []
    for _ in range(120):
        whole.iterate()
        counts.append(len(whole.gaussians))
    assert start < 900
    assert counts[47] == 900  # densification until 12,000 of 30,000
    assert max(counts) <= 950  # and IGD on top
    for _ in range(57):
        first.iterate()
    second = Trainer(data, config, 99)
    second.load_state_dict(first.state_dict())
    for _ in range(120 - 57):
        second.iterate()
    for name, value in whole.gaussians.params.items():
        assert torch.equal(value, second.gaussians.params[name]), name


@pytest.mark.gpu
def test_gpu_relocation_is_gsplats() -> None:
    from gsplat.relocation import compute_relocation

    binoms = torch.zeros(51, 51)
    for n in range(51):
        for k in range(n + 1):
            binoms[n, k] = math.comb(n, k)
    opacities = torch.rand(1000).clamp(0.01, 0.99).cuda()
    copies = torch.randint(1, 20, (1000,)).cuda()
    new, scales = compute_relocation(
        opacities, torch.ones(1000, 3).cuda(), copies.clone(), binoms.cuda()
    )
    ours, factor = relocated(opacities, copies)
    torch.testing.assert_close(ours, new, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(factor, scales[:, 0], rtol=2e-2, atol=0)
