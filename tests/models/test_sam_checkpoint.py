"""SAM from checkpoint files: good ones, and what is wrong with others."""

from __future__ import annotations

import pickle
import sys
import zipfile

import pytest
import torch

from gradiseg_core.errors import BackendUnavailableError, InputError
from gradiseg_core.models import sam
from tests import tiny_sam

CPU = torch.device("cpu")


@pytest.fixture
def tiny(monkeypatch):
    """The name `vit_b` builds the tiny network."""
    import segment_anything

    monkeypatch.setitem(
        segment_anything.sam_model_registry, "vit_b", lambda: tiny_sam.build(seed=9)
    )


def test_every_weight_is_the_files(tiny, tmp_path):
    model = sam.load_sam("vit_b", tiny_sam.save(tmp_path / "a.pth", seed=1), CPU, key="masks.sam")
    expected = tiny_sam.build(seed=1).state_dict()
    assert model.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


class _Runs:
    """Unpickling this writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_nothing_is_run_while_a_checkpoint_is_read(tiny, tmp_path):
    trace = tmp_path / "trace"
    torch.save({"a": torch.ones(1), "b": _Runs(trace)}, tmp_path / "hostile.pth")
    with pytest.raises(InputError, match=r"hostile\.pth cannot be read.*plain tensors"):
        sam.load_sam("vit_b", tmp_path / "hostile.pth", CPU, key="masks.sam")
    (tmp_path / "old.pth").write_bytes(pickle.dumps(_Runs(trace), protocol=2))
    with pytest.raises(InputError, match=r"old\.pth cannot be read"):
        sam.load_sam("vit_b", tmp_path / "old.pth", CPU, key="masks.sam")
    assert not trace.exists()


def test_files_that_are_no_checkpoints(tiny, tmp_path):
    def refused(name: str, match: str) -> None:
        with pytest.raises(InputError, match=match) as caught:
            sam.load_sam("vit_b", tmp_path / name, CPU, key="masks.sam")
        assert name in str(caught.value)

    refused("missing.pth", r"masks\.sam\.checkpoint: no file")
    (tmp_path / "page.pth").write_text("<!DOCTYPE html><html>404</html>")
    refused("page.pth", r"cannot be read")
    (tmp_path / "empty.pth").touch()
    refused("empty.pth", r"cannot be read")
    with zipfile.ZipFile(tmp_path / "zip.pth", "w") as archive:
        archive.writestr("readme.txt", "no checkpoint")
    refused("zip.pth", r"cannot be read")
    whole = tiny_sam.save(tmp_path / "whole.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    refused("cut.pth", r"cannot be read")
    torch.save([torch.ones(2)], tmp_path / "list.pth")
    refused("list.pth", r"not hold a dictionary of tensors")
    torch.save({"model": {"a": torch.ones(2)}}, tmp_path / "nested.pth")
    refused("nested.pth", r"not hold a dictionary of tensors")


def test_checkpoints_of_other_networks(tiny, tmp_path):
    def refused(state: dict, match: str) -> None:
        torch.save(state, tmp_path / "other.pth")
        with pytest.raises(InputError, match=match):
            sam.load_sam("vit_b", tmp_path / "other.pth", CPU, key="masks.sam")

    good = tiny_sam.build().state_dict()
    width = "image_encoder.patch_embed.proj.weight"
    refused(
        {**good, width: torch.zeros(1280, 3, 16, 16)},
        r"masks\.sam\.model is vit_b, but .*other\.pth holds the weights of vit_h; set "
        r"`masks\.sam\.model: vit_h`",
    )
    refused({"trunk.weight": torch.ones(2)}, r"other\.pth is not a checkpoint of SAM's vit_b")
    lacking = {name: value for name, value in good.items() if "iou_token" not in name}
    refused(lacking, r"other\.pth does not fit SAM's vit_b.*iou_token")


def test_published_widths():
    """The numbers that tell the architectures apart are those of the package's own builders."""
    import segment_anything

    for width, name in sam._ARCHITECTURE_OF_WIDTH.items():
        with torch.device("meta"):
            model = segment_anything.sam_model_registry[name]()
        assert model.state_dict()[sam._WIDTH_KEY].shape[0] == width


@pytest.mark.parametrize("package", ["segment_anything", "torchvision"])
def test_a_missing_package(monkeypatch, tmp_path, package):
    for name in [*sys.modules]:
        if name.split(".")[0] in ("segment_anything", package):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BackendUnavailableError, match=r"masks\.sam.*\.\[models\].*--sdm"):
        sam.load_sam("vit_b", tmp_path / "any.pth", CPU, key="masks.sam")
