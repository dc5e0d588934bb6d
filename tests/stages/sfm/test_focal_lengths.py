"""Focal lengths in EXIF data that cannot be right are estimated instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.files._pycolmap import pycolmap
from gradiseg_core.stages.sfm.features import build_database
from tests.stages.sfm.scenes import WIDTH, lens, poses, render

FILM, FOCAL = 0xA405, 0x920A


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({FILM: 26}, 26 / 36),
        ({FILM: 600}, 600 / 36),
        ({}, 1.2),
        ({FILM: 0, FOCAL: 5.0}, 1.2),
        ({FILM: 65535}, 1.2),
        ({FILM: 1}, 1.2),
        ({FILM: 0, FOCAL: IFDRational(0, 0)}, 1.2),  # no number, of a camera that COLMAP knows
    ],
)
def test_the_focal_length_to_start_from(
    tmp_path: Path, tags: dict, expected: float, caplog: pytest.LogCaptureFixture
) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Canon", "Canon EOS 450D" if FOCAL in tags else "Phone"
    exif[0x8769] = tags
    names = ["a.jpg", "b.jpg"]
    for name, pose in zip(names, poses(2), strict=True):
        image = Image.fromarray(render(lens(), pose)[0])
        image.save(tmp_path / name, exif=exif.tobytes(), quality=95)
    (tmp_path / "work").mkdir()
    database = build_database(
        tmp_path / "work", tmp_path, names, ColmapConfig(max_features=128), cameras=[names],
        seed=0, threads=1,
    )  # fmt: skip
    db = pycolmap.Database.open(database)
    [camera] = db.read_all_cameras()
    db.close()
    assert camera.mean_focal_length() / WIDTH == pytest.approx(expected, rel=0.05)
    impossible = expected == 1.2 and tags.get(FILM) in (1, 65535)
    assert ("cannot be right" in caplog.text) >= impossible
    assert camera.has_prior_focal_length == (expected != 1.2)
