"""Arguments of the command `gradiseg`: what is wrong with them, and what was meant."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn


def positive(text: str) -> int:
    """Check a number of cores."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: a number of cores, at least 1")
    return int(text)


def capabilities(text: str) -> str:
    """Check the compute capabilities of `--arch`."""
    if not re.fullmatch(r"\d+\.\d+([;,\s]+\d+\.\d+)*", text):
        raise argparse.ArgumentTypeError(f"{text}: compute capabilities such as 9.0 or 8.0,9.0")
    return text


def npz(text: str) -> Path:
    """Check the file of `--out`, which is told from other things by its end."""
    if not text.endswith(".npz"):
        raise argparse.ArgumentTypeError(f"{text}: files of selections end in .npz")
    return Path(text)


def one_of(*names: str) -> Callable[[str], str]:
    """Return what checks that an option's value is one of some names."""

    def check(text: str) -> str:
        if text not in names:
            meant = did_you_mean(text, names) or f"one of {', '.join(names)}"
            raise argparse.ArgumentTypeError(f"{text}: {meant}")
        return text

    return check


def did_you_mean(text: str, valid: Iterable[str], near: float = 0.6) -> str:
    """Return "did you mean --quality?" for what is nearest; empty where nothing is near.

    Args:
        text: What was written.
        valid: What there is.
        near: How like they must be, 0..1.
    """
    found = difflib.get_close_matches(text, list(valid), n=1, cutoff=near)
    return f"did you mean {found[0]}?" if found else ""


def parsed(
    parser: argparse.ArgumentParser,
    commands: dict[str, argparse.ArgumentParser],
    given: Sequence[str],
) -> argparse.Namespace:
    """Return the options of a command; end with what was meant where one is not known.

    Args:
        parser: Of all commands.
        commands: Their own parsers, by name.
        given: The command line.
    """
    first = given[0] if given else ""
    if first and not first.startswith("-") and first not in commands:
        _refuse(parser, f"no command is called {first}", did_you_mean(first, commands))
    own = commands.get(first, parser)
    known = list(own._option_string_actions)  # argparse tells them in no other way
    written = [text.partition("=")[0] for text in given if re.match(r"--?[A-Za-z]", text)]
    unknown = [text for text in written if not any(name.startswith(text) for name in known)]
    if unknown:
        meant = " ".join(filter(None, (did_you_mean(text, known, 0.7) for text in unknown)))
        if not meant and first == "run":
            meant = "options of Snakemake go after --"
        plural = "" if len(unknown) == 1 else "s"
        _refuse(own, f"unknown option{plural} {', '.join(unknown)}", meant)
    options, left = parser.parse_known_args(given)
    if left:
        _refuse(own, f"more than it takes: {' '.join(left)}")
    return options


def _refuse(parser: argparse.ArgumentParser, what: str, meant: str = "") -> NoReturn:
    """End as argparse does, without its usage, which is long and says nothing of the mistake."""
    shown = f"{what}; {meant}" if meant else what
    parser.exit(2, f"{parser.prog}: {shown}\n`{parser.prog} --help` says what there is\n")
