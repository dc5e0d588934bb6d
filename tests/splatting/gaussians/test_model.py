from __future__ import annotations

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from gradiseg_core.splatting.gaussians import PARAMETERS, SH_C0, Gaussians, gaussians_from_points
from tests.splatting.gaussians.made import make, step


def test_rebuild_keeps_values_moments_and_statistics_together() -> None:
    gaussians = make()
    step(gaussians)
    gaussians.statistics["monitor"] = torch.arange(5.0)
    before = {n: p.detach().clone() for n, p in gaussians.params.items()}
    moments = {n: gaussians.first_moment(n).clone() for n in PARAMETERS}
    new = {n: p.detach()[:2] + 1.0 for n, p in gaussians.params.items()}
    gaussians.rebuild(torch.tensor([True, False, True, True, False]), new)
    assert len(gaussians) == 5
    for name in PARAMETERS:
        torch.testing.assert_close(gaussians.params[name][:3], before[name][[0, 2, 3]])
        torch.testing.assert_close(gaussians.params[name][3:], before[name][:2] + 1.0)
        state = gaussians.optimizer.state[gaussians.params[name]]
        torch.testing.assert_close(state["exp_avg"][:3], moments[name][[0, 2, 3]])
        assert not state["exp_avg"][3:].any()
        assert not state["exp_avg_sq"][3:].any()
        assert state["exp_avg_sq"][:3].all()
    assert gaussians.statistics["monitor"].tolist() == [0.0, 2.0, 3.0, 0.0, 0.0]
    assert len(gaussians.optimizer.state) == len(PARAMETERS)
    step(gaussians)  # the optimizer goes on with the new parameters


def test_optimizer_moves_only_what_it_did_without_surgery() -> None:
    changed, plain = make(), make()
    step(changed)
    step(plain)
    changed.rebuild(torch.tensor([True, True, True, False, False]))
    for gaussians in (changed, plain):
        sum(p[:3].square().sum() for p in gaussians.params.values()).backward()
        gaussians.optimizer.step()
    for name in PARAMETERS:
        torch.testing.assert_close(changed.params[name], plain.params[name][:3])


def test_a_mask_becomes_indices_once() -> None:
    """On a GPU the host waits for each: 21 tensors were indexed by the mask."""
    gaussians = make()
    step(gaussians)
    gaussians.statistics = {"grad2d": torch.arange(5.0), "seen": torch.arange(5.0)}
    expected = gaussians.params["means"].detach()[[1, 3]]
    with profile(activities=[ProfilerActivity.CPU]) as found:
        gaussians.rebuild(torch.tensor([False, True, False, True, False]))
    names = [event.name for event in found.events()]
    assert names.count("aten::nonzero") == 1
    assert "aten::index" not in names
    assert torch.equal(gaussians.params["means"], expected)
    assert gaussians.statistics["seen"].tolist() == [1.0, 3.0]


def test_state_survives_a_round_trip() -> None:
    gaussians = make()
    step(gaussians)
    gaussians.rebuild(torch.tensor([0, 1, 2]))
    other = make(seed=7)
    other.load_state_dict(gaussians.state_dict())
    step(gaussians)
    step(other)
    for name in PARAMETERS:
        assert torch.equal(gaussians.params[name], other.params[name])


def test_overwrite_zeroes_moments() -> None:
    gaussians = make()
    step(gaussians)
    gaussians.overwrite("opacities", torch.full((5,), -3.0))
    assert gaussians.params["opacities"].tolist() == [-3.0] * 5
    assert not gaussians.first_moment("opacities").any()
    assert gaussians.first_moment("means").any()


def test_disagreeing_shapes_are_refused() -> None:
    values = {n: p.detach() for n, p in make().params.items()}
    values["means"] = values["means"][:3]
    with pytest.raises(ValueError, match="disagree"):
        Gaussians(values, dict.fromkeys(PARAMETERS, 1e-2))


def test_initialisation_from_points() -> None:
    import numpy as np

    # A unit square: every corner's three nearest are at 1, 1 and sqrt 2, so the spacing is
    # sqrt((1 + 1 + 2) / 3).
    xyz = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], dtype=float)
    rgb = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], dtype=np.uint8)
    values = gaussians_from_points(
        xyz, rgb, identity_dim=16, generator=torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(values["scales"].exp(), torch.full((4, 3), (4 / 3) ** 0.5))
    torch.testing.assert_close(values["opacities"].sigmoid(), torch.full((4,), 0.1))
    torch.testing.assert_close(
        values["sh0"][:, 0] * SH_C0 + 0.5, torch.tensor(rgb / 255.0, dtype=torch.float32)
    )
    assert values["identities"].abs().max() <= 0.5 / SH_C0
    with pytest.raises(ValueError, match="at least 4"):
        gaussians_from_points(xyz[:3], rgb[:3], identity_dim=16, generator=torch.Generator())
