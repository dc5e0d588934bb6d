"""Gaussian Grouping's files: written for its own modules, and read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gradiseg_core.errors import InputError
from gradiseg_core.exporting.grouping import read_grouping, write_grouping
from gradiseg_core.splatting.losses.identity import IdentityClassifier
from tests.exporting import clouds


@pytest.fixture
def classifier() -> IdentityClassifier:
    return IdentityClassifier(9, 16, generator=torch.Generator().manual_seed(1))


def test_its_classifier_and_encodings(tmp_path: Path, classifier: IdentityClassifier) -> None:
    """As its render.py takes them: a convolution over encodings read by name."""
    cloud = clouds.make(60)
    write_grouping(tmp_path, cloud, classifier, iterations=7000, white_background=False)
    inner = tmp_path / "point_cloud" / "iteration_7000"
    found = clouds.properties(inner / "point_cloud.ply")
    expected = clouds.as_properties(cloud)
    assert list(found) == [*expected, *(f"obj_dc_{i}" for i in range(16))]
    objects = np.stack([found[f"obj_dc_{i}"] for i in range(16)], axis=1)
    np.testing.assert_array_equal(objects, cloud.identities)
    convolution = torch.nn.Conv2d(16, 9, kernel_size=1)
    convolution.load_state_dict(torch.load(inner / "classifier.pth", weights_only=True))
    with torch.no_grad():
        theirs = convolution(torch.from_numpy(objects).T[:, :, None])[:, :, 0].T
        ours = classifier(torch.from_numpy(cloud.identities))
    torch.testing.assert_close(theirs, ours)
    assert "num_classes=9" in (tmp_path / "cfg_args").read_text()


def test_both_ways(tmp_path: Path, classifier: IdentityClassifier) -> None:
    cloud = clouds.make(60)
    write_grouping(tmp_path, cloud, classifier, iterations=900, white_background=True)
    write_grouping(tmp_path, cloud, classifier, iterations=7000, white_background=True)
    for folder in (tmp_path, tmp_path / "point_cloud" / "iteration_900"):
        scene = read_grouping(folder)
        for name, value in (
            ("means", cloud.means),
            ("scales", cloud.scales),
            ("opacities", cloud.opacities),
            ("sh0", cloud.sh0[:, None]),
            ("shN", cloud.shN),
            ("identities", cloud.identities),
        ):
            np.testing.assert_array_equal(getattr(scene, name), value)
        assert torch.equal(scene.classifier.weight, classifier.weight)
        assert torch.equal(scene.classifier.bias, classifier.bias)
    scene = read_grouping(tmp_path)
    assert scene.metadata["iterations"] == 7000  # the last, by number
    assert scene.metadata["background"] == "white"
    assert scene.metadata["num_classes"] == 9


def test_what_is_no_model_is_named(tmp_path: Path, classifier: IdentityClassifier) -> None:
    with pytest.raises(InputError, match=r"no point_cloud\.ply in"):
        read_grouping(tmp_path)
    cloud = clouds.make(5)
    write_grouping(tmp_path, cloud, classifier, iterations=1, white_background=False)
    inner = tmp_path / "point_cloud" / "iteration_1"
    (inner / "classifier.pth").write_bytes(b"PK\3\4 not a zip")
    with pytest.raises(InputError, match="is not a classifier of Gaussian Grouping"):
        read_grouping(tmp_path)
    torch.save(
        {"weight": torch.zeros(9, 8, 1, 1), "bias": torch.zeros(9)}, inner / "classifier.pth"
    )
    with pytest.raises(InputError, match="length 16, the classifier takes 8"):
        read_grouping(tmp_path)
    (inner / "classifier.pth").unlink()
    with pytest.raises(InputError, match=r"classifier\.pth is missing"):
        read_grouping(tmp_path)
    from gradiseg_core.exporting.ply import write_gaussians

    write_gaussians(inner / "point_cloud.ply", cloud)
    with pytest.raises(InputError, match=r"no obj_dc_0.*train\.init_from"):
        read_grouping(tmp_path)
    with pytest.raises(InputError, match="reads 16 alone"):
        write_grouping(
            tmp_path, cloud, IdentityClassifier(9, 8), iterations=1, white_background=False
        )
