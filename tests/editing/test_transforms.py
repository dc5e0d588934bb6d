"""Gaussians that are moved, turned, scaled and coloured, against what a camera sees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from gradiseg_core.cameras import Camera
from gradiseg_core.editing.classes import with_new_class
from gradiseg_core.editing.colours import mapped, recolouring, transport
from gradiseg_core.editing.transforms import transformed, turned_harmonics
from gradiseg_core.errors import InputError
from gradiseg_core.splatting.losses.identity import IdentityClassifier
from gradiseg_core.splatting.rasterization.reference import rasterize, sh_basis
from tests.synthetic import look_at


def some(count: int = 30, seed: int = 0) -> dict[str, torch.Tensor]:
    """Gaussians of any shape and colour around the origin, float64."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return {
        "means": 0.3 * normal(count, 3),
        "quats": normal(count, 4),
        "scales": -2.5 + 0.5 * normal(count, 3),
        "opacities": normal(count),
        "sh0": normal(count, 1, 3),
        "shN": 0.3 * normal(count, 15, 3),
        "identities": normal(count, 4),
    }


def seen(values: dict[str, torch.Tensor], camera: Camera) -> np.ndarray:
    """The picture of a camera, by the reference rasterizer in float64."""
    result = rasterize(
        values["means"],
        values["quats"],
        values["scales"].exp(),
        values["opacities"].sigmoid(),
        values["sh0"],
        values["shN"],
        values["identities"],
        viewmat=torch.tensor(camera.cam_from_world),
        K=torch.tensor(camera.K),
        width=camera.width,
        height=camera.height,
        sh_degree=3,
    )
    return torch.cat([result.color, result.identity], dim=-1).numpy()


CAMERA = Camera(
    "a",
    40,
    30,
    np.array([[40.0, 0, 20], [0, 40, 15], [0, 0, 1]]),
    look_at(np.array([1.2, -1.6, 1.1]), np.zeros(3)),
)


def test_turned_gaussians_look_as_before_to_a_camera_that_turned_along() -> None:
    """Band by band, so that no band hides another's error."""
    values = some()
    turn = Rotation.from_euler("xyz", [40, -75, 110], degrees=True).as_matrix()
    pivot, shift = np.array([0.2, -0.1, 0.3]), np.array([1.0, 2.0, -0.5])
    moved = transformed(values, rotation=turn, pivot=pivot, shift=shift)
    world = np.eye(4)
    world[:3, :3], world[:3, 3] = turn, pivot + shift - turn @ pivot
    camera = replace(CAMERA, cam_from_world=CAMERA.cam_from_world @ np.linalg.inv(world))
    before = seen(values, CAMERA)
    assert before.std() > 0.1
    np.testing.assert_allclose(seen(moved, camera), before, atol=1e-9)
    # Without turned harmonics it is another picture: the test would see them missing.
    stale = seen({**moved, "shN": values["shN"]}, camera)
    assert np.abs(stale - before).max() > 0.05


@pytest.mark.parametrize("band", [1, 2, 3])
def test_each_band_turns_exactly(band: int) -> None:
    turn = Rotation.random(random_state=band).as_matrix()
    generator = torch.Generator().manual_seed(band)
    shN = torch.zeros(5, 15, 3, dtype=torch.float64)
    columns = slice(band * band - 1, (band + 1) ** 2 - 1)
    shN[:, columns] = torch.randn(5, 2 * band + 1, 3, generator=generator, dtype=torch.float64)
    directions = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    directions = torch.nn.functional.normalize(directions, dim=1)
    basis = sh_basis(directions, 3)[:, 1:]
    back = sh_basis(directions @ torch.tensor(turn), 3)[:, 1:]
    turned = turned_harmonics(shN, turn)
    torch.testing.assert_close(
        torch.einsum("dk,nkc->dnc", basis, turned),
        torch.einsum("dk,nkc->dnc", back, shN),
        atol=1e-12,
        rtol=0,
    )
    back_again = turned_harmonics(turned, turn.T)
    torch.testing.assert_close(back_again, shN, atol=1e-12, rtol=0)


def test_a_larger_thing_farther_away_looks_the_same() -> None:
    """Scaled around the camera's centre, nothing changes but the blur of 0.3 px."""
    values = some()
    larger = transformed(values, scale=3.0, pivot=CAMERA.center_in_world)
    np.testing.assert_allclose(seen(larger, CAMERA), seen(values, CAMERA), atol=1e-9)


def test_an_affine_map_of_colours_is_one_of_pictures() -> None:
    """Where no colour is clipped at 0, in every direction."""
    values = some()
    values["sh0"] = values["sh0"] * 0.1 + 1.0
    values["shN"] = values["shN"] * 0.1
    matrix, offset = (
        np.array([[0.5, 0.2, 0], [0, 0.6, 0.1], [0.1, 0, 0.7]]),
        np.array([0.1, 0, 0.2]),
    )
    before, after = seen(values, CAMERA), seen(mapped(values, matrix, offset), CAMERA)
    white = seen({**values, "sh0": torch.ones_like(values["sh0"]) * 0.5 / 0.28209479177387814,
                  "shN": torch.zeros_like(values["shN"])}, CAMERA)  # fmt: skip
    np.testing.assert_allclose(
        after[..., :3], before[..., :3] @ matrix.T + white[..., :1] * offset, atol=1e-9
    )


def test_recolouring_keeps_shading() -> None:
    generator = np.random.default_rng(0)
    shade = generator.uniform(0.5, 1.0, 200)
    colours = shade[:, None] * np.array([0.2, 0.9, 0.4])
    matrix, offset = recolouring(colours, np.ones(200), np.array([0.8, 0.6, 0.1]))
    result = colours @ matrix.T + offset
    lit = np.quantile(shade, 0.8)
    np.testing.assert_allclose(result, shade[:, None] / lit * np.array([0.8, 0.6, 0.1]), atol=0.02)
    # A black thing takes the colour as well, and its noise stays small.
    dark = generator.uniform(0.0, 0.04, (200, 3))
    matrix, offset = recolouring(dark, np.ones(200), np.array([0.8, 0.6, 0.1]))
    result = dark @ matrix.T + offset
    np.testing.assert_allclose(np.median(result, axis=0), [0.8, 0.6, 0.1], atol=0.05)
    assert result.std(axis=0).max() < 0.05


def test_transport_gives_mean_and_covariance() -> None:
    generator = np.random.default_rng(0)
    own = generator.normal(size=(5000, 3)) @ generator.normal(size=(3, 3)) * 0.05 + 0.4
    picture = generator.normal(size=(5000, 3)) @ generator.normal(size=(3, 3)) * 0.08 + 0.6
    matrix, offset = transport(own, np.ones(5000), picture)
    result = own @ matrix.T + offset
    np.testing.assert_allclose(result.mean(axis=0), picture.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(np.cov(result.T), np.cov(picture.T), atol=1e-4)
    same, nothing = transport(own, np.ones(5000), picture, strength=0.0)
    np.testing.assert_allclose(own @ same.T + nothing, own, atol=1e-9)


@pytest.mark.parametrize("dim", [4, 16])
def test_a_new_class_takes_its_own_and_nothing_else(dim: int) -> None:
    generator = torch.Generator().manual_seed(dim)
    classifier = IdentityClassifier(9, dim, generator=generator)
    with torch.no_grad():
        classifier.weight.mul_(20.0)
    encodings = torch.randn(500, dim, generator=generator)
    before = classifier(encodings).softmax(dim=1)
    grown, index, encoding = with_new_class(classifier, encodings)
    after = grown(encodings).softmax(dim=1)
    assert (index, grown.num_classes) == (9, 10)
    torch.testing.assert_close(after[:, :9], before, atol=1e-3, rtol=0)
    assert grown(encoding).softmax(dim=0)[9] > 0.99
    # Once more, beside it.
    again, second, other = with_new_class(grown, torch.cat([encodings, encoding[None]]))
    assert second == 10
    assert again(other).argmax() == 10
    assert again(encoding).argmax() == 9


@pytest.mark.parametrize(("dim", "count"), [(8, 60), (16, 200)])
def test_many_new_classes_fit_beside_each_other(dim: int, count: int) -> None:
    generator = torch.Generator().manual_seed(dim)
    classifier = IdentityClassifier(9, dim, generator=generator)
    with torch.no_grad():
        classifier.weight.mul_(20.0)
    encodings = torch.randn(300, dim, generator=generator)
    before = classifier(encodings).argmax(dim=1)
    length = 2.0 * float(encodings.norm(dim=1).max())
    for _ in range(count):
        classifier, _, own = with_new_class(classifier, encodings, length=length)
        encodings = torch.cat([encodings, own[None]])
    expected = torch.cat([before, torch.arange(9, 9 + count)])
    assert torch.equal(classifier(encodings).argmax(dim=1), expected)
    assert classifier(encodings[300:]).softmax(dim=1).amax(dim=1).min() > 0.99


def test_where_no_class_fits_any_more_it_is_refused() -> None:
    classifier = IdentityClassifier(2, 1, generator=torch.Generator().manual_seed(0))
    encodings = torch.tensor([[-1.0], [1.0]])
    before = classifier(encodings).argmax(dim=1)
    refused = None
    while refused is None and classifier.num_classes < 60:
        try:
            classifier, _, own = with_new_class(classifier, encodings)
        except InputError as error:
            refused = str(error)
        else:
            encodings = torch.cat([encodings, own[None]])
    fits = f"of 1 numbers have no room for more than the {classifier.num_classes} IDs"
    assert refused is not None
    assert fits in refused
    # What fitted is what it was made as.
    fitted = torch.cat([before, torch.arange(2, classifier.num_classes)])
    assert torch.equal(classifier(encodings).argmax(dim=1), fitted)
