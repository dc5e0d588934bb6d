"""What else the CPU core promises: determinism, clear errors, exposed 2D means, safe threads."""

from __future__ import annotations

import threading

import pytest
import torch

from gradiseg_core.compute.cpu_runtime import get_threads, set_threads
from gradiseg_core.errors import BackendUnavailableError
from gradiseg_core.splatting.rasterization.registry import get_rasterizer
from tests.splatting.rasterization.scenes import PARAMETERS, make_scene, weighted_sum


@pytest.fixture
def keep_threads():
    before = get_threads()
    yield
    set_threads(before)


def outputs_and_gradients(scene) -> list[torch.Tensor]:
    rendering, leaves = scene.render("cpu", torch.float32)
    weighted_sum(rendering).backward()
    images = [rendering.color, rendering.identity, rendering.alpha, rendering.depth]
    return [*images, rendering.means2d.grad, *(leaves[name].grad for name in PARAMETERS)]


@pytest.mark.usefixtures("keep_threads")
def test_bit_equal_for_any_number_of_threads_and_when_repeated() -> None:
    scene = make_scene(400, width=90, height=70)
    results = []
    for threads in (1, 2, 3, 2):
        set_threads(threads)
        results.append(outputs_and_gradients(scene))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert torch.equal(a, b)


@pytest.mark.usefixtures("keep_threads")
def test_concurrent_callers() -> None:
    set_threads(2)
    scene = make_scene(200)
    expected = outputs_and_gradients(scene)
    results: list[list[torch.Tensor]] = []
    threads = [
        threading.Thread(target=lambda: results.append(outputs_and_gradients(scene)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for result in results:
        assert all(torch.equal(a, b) for a, b in zip(expected, result, strict=True))


def test_frozen_parameters_need_no_gradient() -> None:
    scene = make_scene(40)
    rendering, leaves = scene.render("cpu", torch.float32)
    assert rendering.means2d.requires_grad
    rendering.identity.sum().backward()
    assert leaves["sh0"].grad.abs().sum() == 0  # colours do not reach identities
    assert leaves["means"].grad.abs().sum() > 0  # identities do reach geometry (METHOD: Rendering)
    with torch.no_grad():
        rendering, _ = scene.render("cpu", torch.float32)
    assert not rendering.color.requires_grad


def test_arguments_that_do_not_fit() -> None:
    scene = make_scene(5)
    arguments = {k: v.float() for k, v in scene.gaussians.items()}
    camera = {k: v.float() if torch.is_tensor(v) else v for k, v in scene.camera.items()}
    rasterize = get_rasterizer("cpu")
    with pytest.raises(ValueError, match=r"quats: expected shape \(5, 4\), got \(5, 3\)"):
        rasterize(**{**arguments, "quats": torch.zeros(5, 3)}, **camera)
    with pytest.raises(ValueError, match="means: the CPU rasterizer takes float32"):
        rasterize(**{**arguments, "means": torch.zeros(5, 3).double()}, **camera)
    with pytest.raises(ValueError, match="sh_degree"):
        rasterize(**arguments, **{**camera, "sh_degree": 4})
    with pytest.raises(ValueError, match="shN"):
        rasterize(**{**arguments, "shN": torch.zeros(5, 8, 3)}, **camera)
    with pytest.raises(ValueError, match="image size"):
        rasterize(**arguments, **{**camera, "width": 0})


def test_fewer_sh_coefficients_suffice_for_lower_degrees() -> None:
    scene = make_scene(30)
    scene.camera["sh_degree"] = 1
    full, full_leaves = scene.render("cpu", torch.float32)
    scene.gaussians["shN"] = scene.gaussians["shN"][:, :3]
    short, leaves = scene.render("cpu", torch.float32)
    assert torch.equal(full.color, short.color)
    short.color.square().sum().backward()
    full.color.square().sum().backward()
    assert torch.equal(leaves["shN"].grad, full_leaves["shN"].grad[:, :3])
    assert (full_leaves["shN"].grad[:, 3:] == 0).all()


def test_coefficients_beyond_the_third_degree_do_nothing() -> None:
    scene = make_scene(30)
    expected, expected_leaves = scene.render("cpu", torch.float32)
    more = torch.cat([scene.gaussians["shN"], torch.ones(30, 9, 3).double()], dim=1)
    scene.gaussians["shN"] = more
    rendering, leaves = scene.render("cpu", torch.float32)
    assert torch.equal(rendering.color, expected.color)
    expected.color.square().sum().backward()
    rendering.color.square().sum().backward()
    assert torch.equal(leaves["shN"].grad[:, :15], expected_leaves["shN"].grad)
    assert (leaves["shN"].grad[:, 15:] == 0).all()


def test_unknown_rasterizers() -> None:
    with pytest.raises(BackendUnavailableError, match="'cpu', 'cuda' or 'reference'"):
        get_rasterizer("vulkan")


def test_threads_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        set_threads(0)
