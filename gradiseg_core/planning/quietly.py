"""Runs Snakemake as `python -m snakemake` does, but silent where it is stopped while it starts.

    python quietly.py snakemake --cores 2

It takes seconds to be imported and to read the workflow, in which Python answers Ctrl+C with a
traceback of whatever it was at. Called as a file, so that nothing else is imported before.
"""

import importlib
import os
import signal
import sys
from types import FrameType

STOPPED = 130  # as shells report it


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(STOPPED)


def main() -> None:
    """Run the program that the first argument names, with the others as its own."""
    sys.path[0] = os.getcwd()  # as `python -m` has it, in place of this file's folder
    del sys.argv[0]
    before = signal.signal(signal.SIGINT, _end)
    program = importlib.import_module(f"{sys.argv[0]}.cli")
    signal.signal(signal.SIGINT, before)
    try:
        program.main()
    except BaseException as error:
        if not _is_of_a_stop(error):
            raise
        raise SystemExit(STOPPED) from None


def _is_of_a_stop(error: BaseException | None) -> bool:
    """Tell whether an error is Ctrl+C, or came of it, as where it is pressed twice."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


if __name__ == "__main__":
    main()
