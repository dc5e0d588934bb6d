"""Image files as arrays: at their own size and at others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gradiseg_core.errors import InputError
from gradiseg_core.files import images
from gradiseg_core.files.images import opened, read_image
from tests.videos import texture


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_decoded_in_a_fraction_and_looks_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, orientation: int
) -> None:
    whole = texture(1200, 800)
    exif = whole.getexif()
    exif[0x0112] = orientation
    whole.save(tmp_path / "a.jpg", quality=95, exif=exif.tobytes())
    decoded = []
    monkeypatch.setattr(
        images, "eight_bit_rgb", lambda file: decoded.append(file.size) or file.convert("RGB")
    )
    size = (150, 100) if orientation == 1 else (100, 150)
    found = read_image(tmp_path / "a.jpg", size).astype(int)
    assert decoded == [(300, 200)]
    upright = whole if orientation == 1 else whole.transpose(Image.Transpose.ROTATE_270)
    expected = np.asarray(upright.resize(size, Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(found - expected).mean() < 2
    assert read_image(tmp_path / "a.jpg").shape[:2] == upright.size[::-1]
    assert read_image(tmp_path / "a.jpg", (700, 500)).shape == (500, 700, 3)
    assert decoded[1:] == [(1200, 800)] * 2  # never smaller than twice what is asked for


def test_a_truncated_jpeg_is_found_in_small_too(tmp_path: Path) -> None:
    texture(1200, 800).save(tmp_path / "a.jpg", quality=95)
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: int(0.9 * len(data))])
    with pytest.raises(InputError, match="truncated"), opened(tmp_path / "a.jpg", smallest=64):
        pass
