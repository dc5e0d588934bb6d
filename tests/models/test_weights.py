"""Checkpoints of others are tensors, or are refused."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from gradiseg_core.errors import InputError
from gradiseg_core.models.weights import load_checkpoint

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(1, dtype=torch.int64)}


class Attack:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["new.pth", "old.pth"])
def test_every_form_of_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    torch.save(STATE, path, _use_new_zipfile_serialization=name == "new.pth")
    loaded = load_checkpoint(path, key="k")
    assert loaded.keys() == STATE.keys()
    assert all(torch.equal(loaded[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_a_file_that_runs_code(tmp_path: Path, form: str) -> None:
    proof, path = tmp_path / "proof", tmp_path / "evil.pth"
    if form == "torch":
        torch.save({"a": Attack(proof)}, path)
        assert zipfile.is_zipfile(path)
    else:
        path.write_bytes(pickle.dumps({"a": Attack(proof)}, protocol=2))
    with pytest.raises(InputError, match=r"^masks\.sam: .*evil\.pth cannot be read"):
        load_checkpoint(path, key="masks.sam")
    assert not proof.exists()
    if form == "pickle":  # the attack works where nothing stops it
        pickle.loads(path.read_bytes())
        assert proof.exists()


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>", bytes(100)])
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        load_checkpoint(tmp_path / "a.pth", key="k")


def test_missing_or_something_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"k: no file .*none\.pth"):
        load_checkpoint(tmp_path / "none.pth", key="k")
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "numbers.pth")
    for name in ("list.pth", "numbers.pth"):
        with pytest.raises(InputError, match="not hold a dictionary of tensors"):
            load_checkpoint(tmp_path / name, key="k")
