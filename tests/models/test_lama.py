"""LaMa from a file of TorchScript with random weights: what it paints, and files that are wrong."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from gradiseg_core.config.filling import LAMA
from gradiseg_core.errors import InputError
from gradiseg_core.models.lama import load_lama
from tests import tiny_lama


def test_wanted_pixels_are_the_networks_and_others_stay(tmp_path: Path) -> None:
    network = tiny_lama.save(tmp_path / "lama.pt")
    generator = np.random.default_rng(0)
    image = generator.random((72, 80, 3))
    wanted = np.zeros((72, 80), bool)
    wanted[20:50, 30:61] = True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        painted = load_lama(tmp_path / "lama.pt", key="a")(image, wanted)
    given = torch.tensor(image.transpose(2, 0, 1)[None]).float()
    with torch.no_grad():
        expected = network(given, torch.tensor(wanted).float()[None, None])[0]
    expected = expected.permute(1, 2, 0).numpy()
    np.testing.assert_allclose(painted[wanted], expected[wanted], atol=1e-6)
    np.testing.assert_array_equal(painted[~wanted], image[~wanted])
    assert np.ptp(painted[wanted], axis=0).min() > 0.01


@pytest.mark.parametrize("shape", [(5, 9), (61, 64), (64, 131)])
def test_any_size_is_mirrored_to_multiples_of_8(shape: tuple[int, int], tmp_path: Path) -> None:
    network = tiny_lama.save(tmp_path / "lama.pt", seed=3)
    image = np.random.default_rng(1).random((*shape, 3))
    wanted = np.zeros(shape, bool)
    wanted[-2:, -3:] = True
    painted = load_lama(tmp_path / "lama.pt", key="a")(image, wanted)
    assert painted.shape == image.shape
    pad = [(0, max(64, -(-side // 8) * 8) - side) for side in shape]
    given = np.pad(image, [*pad, (0, 0)], mode="symmetric").transpose(2, 0, 1)[None]
    mask = np.pad(wanted, pad, mode="symmetric")[None, None]
    with torch.no_grad():
        expected = network(torch.tensor(given).float(), torch.tensor(mask).float())[0]
    expected = expected.permute(1, 2, 0).numpy()[: shape[0], : shape[1]]
    np.testing.assert_allclose(painted[wanted], expected[wanted], atol=1e-6)


def test_a_missing_file_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"fill\.checkpoint: .*none\.pt is not there") as caught:
        load_lama(tmp_path / "none.pt", key="fill.checkpoint")
    assert LAMA.url in str(caught.value)
    assert "196 MB" in str(caught.value)


def test_files_that_are_something_else(tmp_path: Path) -> None:
    tiny_lama.save(tmp_path / "whole.pt")
    content = (tmp_path / "whole.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(content[: len(content) // 2])
    (tmp_path / "page.pt").write_text("<html>not found</html>")
    (tmp_path / "empty.pt").touch()
    torch.save({"weight": torch.ones(3)}, tmp_path / "tensors.pt")
    for name in ("cut", "page", "empty", "tensors"):
        with pytest.raises(InputError, match=rf"a: .*{name}\.pt \(\d+ bytes\) cannot be read"):
            load_lama(tmp_path / f"{name}.pt", key="a")


def test_a_program_of_another_kind(tmp_path: Path) -> None:
    image, wanted = np.zeros((64, 64, 3)), np.ones((64, 64), bool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.script(torch.nn.Linear(3, 3)).save(str(tmp_path / "linear.pt"))
        torch.jit.script(torch.nn.CosineSimilarity()).save(str(tmp_path / "flat.pt"))
    for name in ("linear", "flat"):  # one refuses two inputs, one makes no picture
        load = load_lama(tmp_path / f"{name}.pt", key="a")
        with pytest.raises(InputError, match=rf"{name}\.pt does not take and return pictures as"):
            load(image, wanted)


def test_a_file_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    image, wanted = np.full((64, 64, 3), 0.5), np.ones((64, 64), bool)
    tiny_lama.save(tmp_path / "lama.pt", seed=0)
    first = load_lama(tmp_path / "lama.pt", key="a")(image, wanted)
    tiny_lama.save(tmp_path / "lama.pt", seed=1)
    assert np.abs(load_lama(tmp_path / "lama.pt", key="a")(image, wanted) - first).max() > 0.01
