"""Threads and compilation of the CPU kernels, for every module that holds numba kernels.

Kernels release the GIL and work on one band of the problem at a time. :func:`run_queue` starts them
on plain Python threads, where each takes band after band from a queue. numba's own threading layers
are not used: two of them have traps (``omp``: a fork after use kills the child;
``workqueue``: aborts on concurrent callers). What a band computes never depends on which thread
takes it, so results do not depend on the number of threads or on scheduling.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

logger = logging.getLogger(__name__)

_pool: ThreadPoolExecutor | None = None
_pool_owner: tuple[int, int] = (0, 0)  # (process id, workers) that _pool was made for
_announced = False
_threads: int | None = None  # of the kernels, once set


def set_threads(threads: int) -> None:
    """Use ``threads`` threads in all CPU kernels of this process, and one in torch.

    Beside the kernels torch runs only many small operations. After each of them its threads spin at
    a barrier, on cores that the kernels need. If another process holds such a core, each operation
    waits for the scheduler: a training iteration of 49 ms took 208.

    Raises:
        ValueError: If ``threads`` is below 1.
    """
    global _threads
    if threads < 1:
        raise ValueError(f"threads: expected at least 1, got {threads}")
    _threads = threads
    torch.set_num_threads(1)


def get_threads() -> int:
    """Return the number of threads that kernels use: as set, otherwise torch's."""
    return _threads or torch.get_num_threads()


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator like ``numba.njit``: GIL released, compiled code cached on disk.

    If neither the package's folder nor the user's cache folder is writable, every process compiles
    the kernel again, and a warning says how to avoid that.

    Args:
        **options: Passed to ``numba.njit``.
    """
    options = {"nogil": True, "error_model": "numpy", **options}

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            compiled = numba.njit(cache=True, **options)(function)
            if _tie_cache_to_package(compiled):
                return compiled
            _warn_of_numba()
            return numba.njit(**options)(function)
        except RuntimeError as error:  # numba: "cannot cache function ...: no locator available"
            logger.warning(
                "compiled kernels cannot be cached (%s): every process compiles them again; "
                "set NUMBA_CACHE_DIR to a writable folder to avoid that",
                error,
            )
            return numba.njit(**options)(function)

    return decorate


def _tie_cache_to_package(compiled: Any) -> bool:
    """Make cached code stale whenever any module with kernels changes; return whether that worked.

    numba compares only the time and size of the kernel's own file. Without this, code inlined from
    another module (:mod:`.simd`, the harmonics) would stay when that module changes. numba has no
    public interface for it, and its next version may store the cache differently.
    """
    cache_file = _cache_file(compiled)
    if not (hasattr(cache_file, "_source_stamp") and hasattr(cache_file, "_load_index")):
        return False
    cache_file._source_stamp = (cache_file._source_stamp, _package_stamp())
    return True


def _cache_file(compiled: Any) -> Any:
    """Return numba's object for a kernel's file on disk, or None."""
    return getattr(getattr(compiled, "_cache", None), "_cache_file", None)


@functools.cache
def _warn_of_numba() -> None:
    """Warn, once a process, that this version of numba is not known."""
    logger.warning(
        "numba %s stores its cache in an unknown way: every process compiles the CPU kernels "
        "again, about 20 s; the versions of requirements.lock are known to work",
        numba.__version__,
    )


@functools.cache
def _package_stamp() -> str:
    """Return a digest of the modules that define kernels or what is inlined into them."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        source = path.read_bytes()
        if b"\n@kernel(" in source or b"\n@intrinsic" in source:
            digest.update(path.name.encode() + source)
    return digest.hexdigest()


@kernel()
def scratch(size):  # type: ignore[no-untyped-def]
    """Return ``size`` float32 values of memory, aligned to a cache line, for use in kernels."""
    memory = np.empty(size + 16, np.float32)
    start = (-memory.ctypes.data % 64) // 4
    return memory[start : start + size]


@intrinsic
def take(typingctx: Any, queue: Any) -> Any:
    """Return 0, 1, 2, ... from a queue of :func:`run_queue`, each number to one caller only."""
    if not (isinstance(queue, types.Array) and queue.dtype == types.int64):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        next_number = context.make_array(sig.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", next_number, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(queue), codegen


def run_queue(function: Any, bands: int, *args: Any) -> None:
    """Call the kernel ``function(queue, *args)`` once on each of :func:`get_threads` threads.

    The kernel takes bands from the queue with :func:`take` until none is left. So Python and its
    lock are needed once for each thread, not for each band.

    Args:
        function: A kernel made by :func:`kernel`; bands must write to disjoint memory.
        bands: Number of bands; more threads than bands are not used.
        *args: Passed to every call.
    """
    announce_compilation(function)
    queue = np.zeros(1, np.int64)
    _on_threads(lambda: function(queue, *args), min(get_threads(), bands))


def _on_threads(work: Callable[[], None], threads: int) -> None:
    """Call ``work`` on this thread and, while it runs here, on others of the pool."""
    if threads <= 1:
        work()
        return
    caller_core = _current_core()

    def help_out() -> None:
        _leave_core(caller_core)
        work()

    pool = _workers(threads - 1)
    others = [pool.submit(help_out) for _ in range(threads - 1)]
    try:
        work()
    finally:
        # A thread that has not started yet would find no work left, and on a busy machine waiting
        # for it can take longer than the work itself.
        started = [other for other in others if not other.cancel()]
        errors = [other.exception() for other in started]
    for error in errors:
        if error is not None:
            raise error


@functools.cache
def _core_query() -> Any:
    """Return libc's ``sched_getcpu``, or None where there is none (not Linux)."""
    return getattr(ctypes.CDLL(None), "sched_getcpu", None) if os.name == "posix" else None


def _current_core() -> int:
    """Return the core that this thread runs on, or -1 if the system does not tell."""
    query = _core_query()
    return int(query()) if query is not None and hasattr(os, "sched_setaffinity") else -1


def _leave_core(core: int) -> None:
    """Keep this thread of the pool off the caller's core until the next call.

    Linux wakes a thread on the core of the thread that woke it. While all other cores are busy,
    even with work of the lowest priority, both share that core for longer than a kernel runs.
    """
    others = os.sched_getaffinity(os.getpid()) - {core} if core >= 0 else set()
    if others:
        try:
            os.sched_setaffinity(0, others)
        except OSError as error:  # a container may forbid it, or have taken cores away meanwhile
            logger.debug("cannot choose a core: %s", error)


def announce_compilation(*functions: Any) -> None:
    """Tell the user, once a process, when one of the kernels is about to be compiled."""
    global _announced
    if _announced:
        return
    cold = next((function for function in functions if is_cold(function)), None)
    if cold is None:
        return
    _announced = True
    what = cold.py_func.__module__.rpartition(".")[2]  # each stage has kernels of its own
    logger.warning(
        "compiling CPU kernels of %s, once on this machine, about 20 s where it is idle", what
    )


def is_cold(function: Any) -> bool:
    """Return whether a kernel has neither been compiled in this process nor found on disk."""
    if getattr(function, "signatures", True):
        return False
    cache_file = _cache_file(function)
    return cache_file is None or not cache_file._load_index()


def _workers(count: int) -> ThreadPoolExecutor:
    """Return this process's pool of at least ``count`` threads; a forked child gets a new one."""
    global _pool, _pool_owner
    if _pool is None or _pool_owner[0] != os.getpid() or _pool_owner[1] < count:
        _pool = ThreadPoolExecutor(count, thread_name_prefix="gradiseg-kernel")
        _pool_owner = (os.getpid(), count)
    return _pool
