"""What holds for every kernel: where compiled code goes, and how many threads there are."""

from __future__ import annotations

import logging

import numba
import numba.core.caching
import numpy as np
import pytest
import torch

from gradiseg_core.compute import cpu_runtime
from gradiseg_core.compute.cpu_runtime import get_threads, kernel, run_queue, set_threads, take


def test_kernels_compile_where_no_folder_can_hold_the_cache(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # numba asks one locator after another for a writable folder; none has one.
    monkeypatch.setattr(numba.core.caching.CacheImpl, "_locator_classes", [])
    with caplog.at_level(logging.WARNING):

        @kernel()
        def twice(x):  # type: ignore[no-untyped-def]
            return 2 * x

    assert twice(21) == 42
    assert "NUMBA_CACHE_DIR" in caplog.text


def test_an_unknown_cache_of_numba_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Code on disk that could not be told to be stale must not be used."""
    monkeypatch.setattr(cpu_runtime, "_cache_file", lambda compiled: object())
    cpu_runtime._warn_of_numba.cache_clear()
    with caplog.at_level(logging.WARNING):

        @kernel()
        def twice(x):  # type: ignore[no-untyped-def]
            return 2 * x

        @kernel()
        def thrice(x):  # type: ignore[no-untyped-def]
            return 3 * x

    assert (twice(21), thrice(14)) == (42, 42)
    assert not twice.stats.cache_path
    assert caplog.text.count(numba.__version__) == 1
    monkeypatch.undo()

    @kernel()
    def half(x):  # type: ignore[no-untyped-def]
        return x / 2

    assert half.stats.cache_path  # the installed numba is known


@kernel()
def count_calls(queue, calls):  # type: ignore[no-untyped-def]
    band = take(queue)
    while band < calls.shape[0]:
        calls[band] += 1
        band = take(queue)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_queue_hands_out_every_band_once(threads: int) -> None:
    before = get_threads()
    try:
        set_threads(threads)
        for bands in (1, 3, 5000):
            calls = np.zeros(bands, np.int64)
            run_queue(count_calls, bands, calls)
            assert (calls == 1).all()
    finally:
        set_threads(before)


def test_threads_go_to_the_kernels_and_not_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(cpu_runtime, "_threads", None)
    try:
        torch.set_num_threads(2)
        assert get_threads() == 2  # torch's, until set
        set_threads(3)
        assert (get_threads(), torch.get_num_threads()) == (3, 1)
    finally:
        torch.set_num_threads(before)
