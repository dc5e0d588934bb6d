"""Runs Snakemake as `python -m snakemake` does, but ends it quietly where it is stopped.

    python quietly.py snakemake --cores 2

It takes seconds to be imported and to read the workflow, in which Python answers Ctrl+C with a
traceback of whatever it was at; so it does to a second Ctrl+C while Snakemake waits for its jobs.
Called as a file, so that nothing else is imported before.
"""

import importlib
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

STOPPED = 130  # as shells report it
#: Tells this process alone to stop; it tells its jobs. With Ctrl+C a terminal tells them as well.
ALONE = signal.SIGUSR1


class _Stop:
    """What the program answers to being stopped, once it runs."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Stop the program the first time; after that it waits for its jobs, and goes on to."""
        if number == ALONE:
            import psutil

            for job in psutil.Process().children(recursive=True):
                try:
                    job.send_signal(signal.SIGINT)
                except psutil.NoSuchProcess:
                    continue  # it has just ended
        if not self.asked:
            self.asked = True
            raise KeyboardInterrupt


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(STOPPED)


def main() -> None:
    """Run the program that the first argument names, with the others as its own."""
    sys.path[0] = os.getcwd()  # as `python -m` has it, in place of this file's folder
    del sys.argv[0]
    _answer(_end)
    program = importlib.import_module(f"{sys.argv[0]}.cli")
    stop = _Stop()
    _answer(stop)
    try:
        program.main()
    except BaseException as error:
        ended_well = isinstance(error, SystemExit) and not error.code
        if ended_well or not (stop.asked or _is_of_a_stop(error)):
            raise
        raise SystemExit(STOPPED) from None  # Snakemake calls a stop a failure


def _is_of_a_stop(error: BaseException | None) -> bool:
    """Tell whether an error is Ctrl+C, or came of it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _answer(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in (signal.SIGINT, ALONE):
        signal.signal(number, handler)


if __name__ == "__main__":
    main()
