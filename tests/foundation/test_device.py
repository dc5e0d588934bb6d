"""The choice of a device, and what is said when memory ends."""

from __future__ import annotations

import pytest
import torch

from gradiseg_core.errors import BackendUnavailableError
from gradiseg_core.foundation.device import choose_device, memory_advice


@pytest.mark.parametrize("available", [True, False])
def test_auto_takes_cuda_where_there_is_one(monkeypatch, available):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert choose_device("auto", "x.device").type == ("cuda" if available else "cpu")
    assert choose_device("cpu", "x.device").type == "cpu"
    if available:
        assert choose_device("cuda", "x.device").type == "cuda"
    else:
        with pytest.raises(BackendUnavailableError, match=r"x\.device: cuda.*x\.device: auto"):
            choose_device("cuda", "x.device")


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
