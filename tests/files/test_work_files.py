"""Files of working folders: whole or not at all, and a damaged one never stops a later run."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
from PIL import Image

from gradiseg_core.files.work_files import read_json, write_whole
from gradiseg_core.stages.training.progress import (
    CHECKPOINT,
    Journal,
    load_checkpoint,
    save_checkpoint,
)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_whole(path, "old")

    def fails(file):
        file.write(b"half")
        raise OSError("stopped")

    with pytest.raises(OSError, match="stopped"):
        write_whole(path, fails)
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("content", [b"", b'{"features": "ab', b"[1]", b"\xff\xfe\x00"])
def test_unreadable_json_is_set_aside(tmp_path, caplog, content):
    path = tmp_path / "inputs.json"
    path.write_bytes(content)
    assert read_json(path, "features are made anew") is None
    assert not path.exists()
    assert (tmp_path / "inputs.json.unreadable").read_bytes() == content
    assert "inputs.json.unreadable: features are made anew" in caplog.text
    assert read_json(path, "") is None  # nothing there is no fault


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99])
def test_a_cut_checkpoint_is_set_aside(tmp_path, caplog, kept):
    state = {"fingerprint": "f", "trainer": {"means": torch.arange(3000.0)}}
    save_checkpoint(tmp_path, state)
    torch.testing.assert_close(load_checkpoint(tmp_path, "f")["trainer"], state["trainer"])
    path = tmp_path / CHECKPOINT
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    assert load_checkpoint(tmp_path, "f") is None
    assert [p.name for p in tmp_path.iterdir()] == [f"{CHECKPOINT}.unreadable"]
    assert "training starts afresh" in caplog.text
    save_checkpoint(tmp_path, state)
    assert load_checkpoint(tmp_path, "f") is not None


def test_a_checkpoint_of_something_else_is_set_aside(tmp_path):
    tmp_path.joinpath(CHECKPOINT).write_bytes(b"not a checkpoint" * 100)
    assert load_checkpoint(tmp_path, "f") is None
    torch.save([1, 2], tmp_path / CHECKPOINT)
    assert load_checkpoint(tmp_path, "f") is None
    assert (tmp_path / f"{CHECKPOINT}.unreadable").is_file()


def test_a_journal_with_a_cut_line_is_continued(tmp_path, caplog):
    lines = [json.dumps({"iteration": i, "loss": 1.0}) for i in (10, 20, 30)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + '\n{"iterat')
    caplog.set_level(logging.WARNING)
    journal = Journal(tmp_path, first_step=20, iterations=40, label="x")
    journal.close()
    found = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in found] == [10, 20]
    assert "1 lines cannot be read" in caplog.text


def test_a_cut_mask_is_made_again(tmp_path, caplog):
    from gradiseg_core.stages.masks.stage import write_view

    class Segmenter:
        calls = 0

        def fingerprint(self, name):
            return "f"

        def segments(self, name):
            self.calls += 1
            return np.arange(64 * 64).reshape(64, 64) % 7

    segmenter = Segmenter()
    Image.new("RGB", (64, 64)).save(tmp_path / "a.jpg")

    def write():
        return write_view(
            segmenter, "a.jpg", tmp_path, photograph=tmp_path / "a.jpg", backend="mod_7"
        )

    assert write() == write() == 6
    assert segmenter.calls == 1
    content = (tmp_path / "a.png").read_bytes()
    for cut in (b"", content[:-30]):
        (tmp_path / "a.png").write_bytes(cut)
        assert write() == 6
    assert segmenter.calls == 3
    assert "a.jpg is segmented anew" in caplog.text
