"""The choice of a device, and what is said when memory ends."""

from __future__ import annotations

import re

import pytest
import torch

from gradiseg_core.compute import placement as device
from gradiseg_core.compute.placement import choose_device, memory_advice
from gradiseg_core.errors import BackendUnavailableError


@pytest.fixture
def working(monkeypatch):
    """A GPU that works."""
    monkeypatch.setattr(device, "check_cuda", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def refuse():
    raise BackendUnavailableError("no compiler")


def test_auto_takes_a_gpu_that_works(working, caplog):
    assert choose_device("auto", "x.device").type == "cuda"
    assert choose_device("cuda", "x.device", lambda: None).type == "cuda"
    assert choose_device("cpu", "x.device", refuse).type == "cpu"
    assert caplog.text == ""


def test_what_cannot_be_loaded_is_a_warning_for_auto_and_an_error_for_cuda(working, caplog):
    assert choose_device("auto", "x.device", refuse).type == "cpu"
    assert "x.device: there is a GPU, but it cannot be used" in caplog.text
    assert "no compiler" in caplog.text
    expected = r"x\.device: cuda.*no compiler.*`x\.device: auto`.*`x\.device: cpu`"
    with pytest.raises(BackendUnavailableError, match=expected):
        choose_device("cuda", "x.device", refuse)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("counted", [True, False])
def test_a_gpu_that_is_counted_and_does_not_work_is_not_taken(monkeypatch, caplog, counted):
    """PyTorch counts cards without code for them; here it has no driver at all."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: counted)
    monkeypatch.setattr(device, "visible_devices", list)
    assert choose_device("auto", "x.device").type == "cpu"
    assert ("it cannot be used" in caplog.text) == counted
    with pytest.raises(BackendUnavailableError, match=r"(?i)x\.device: auto") as error:
        choose_device("cuda", "x.device")
    assert ("cannot use the GPU" if counted else "finds no CUDA device") in str(error.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_card_that_pytorch_does_not_see_is_warned_of(monkeypatch, caplog):
    monkeypatch.setattr(device, "visible_devices", lambda: ["a card"])
    assert choose_device("auto", "x.device").type == "cpu"
    assert "it cannot be used" in caplog.text
    assert re.search("driver|CUDA", caplog.text)


def test_lack_of_memory_becomes_advice():
    advice = pytest.raises(BackendUnavailableError, match=r"model on a\.png.*GPU.*take less")
    with advice, memory_advice("model on a.png", "take less"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")
    # The real thing on a CPU: more than any machine has.
    advice = pytest.raises(BackendUnavailableError, match=r"model on b\.png.*machine.*take less")
    with advice, memory_advice("model on b.png", "take less"):
        torch.empty(2**58, dtype=torch.uint8)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="mat1"), memory_advice("model", "take less"):
        torch.ones(2, 3) @ torch.ones(2, 3)
