"""Progress that is read from COLMAP's database while COLMAP writes it."""

from __future__ import annotations

import logging
import sqlite3
import time

from gradiseg_core.files._pycolmap import pycolmap
from gradiseg_core.stages.sfm.colmap_log import progress_of_table


def test_progress_is_read_by_no_second_sqlite_of_this_process(
    tmp_path, caplog, monkeypatch
) -> None:
    """It would cut the shared memory that COLMAP's has mapped: SIGBUS, now and then."""
    caplog.set_level(logging.INFO)

    def refuse(*_args, **_options):
        raise AssertionError("a second SQLite in the process that COLMAP writes in")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    path = tmp_path / "database.db"
    db = pycolmap.Database.open(path)
    try:
        db.write_camera(
            pycolmap.Camera(
                model="PINHOLE", width=40, height=30, params=[100, 100, 20, 15], camera_id=1
            )
        )
        with progress_of_table(path, "SELECT COUNT(*) FROM cameras", "cameras", 5, every_s=0.05):
            end = time.monotonic() + 20
            while "cameras: 1 of 5" not in caplog.text and time.monotonic() < end:
                time.sleep(0.05)
        assert "cameras: 1 of 5" in caplog.text
    finally:
        db.close()
