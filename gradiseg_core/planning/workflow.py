"""The workflow beside this package: its Snakefile, names of its rules, a command that runs it."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gradiseg_core.errors import InputError

FOLDER = Path(__file__).resolve().parents[2]


def snakefile() -> Path:
    """Return the workflow's Snakefile.

    Raises:
        InputError: If the package was installed without its repository.
    """
    path = FOLDER / "Snakefile"
    if not path.is_file():
        raise InputError(
            f"the workflow is not beside the installed package ({FOLDER}): clone GradiSeg's "
            "repository and install it from there, with `make install` or `pip install -e .`"
        )
    return path


def rule_names(folder: Path = FOLDER) -> list[str]:
    """Return the names of the workflow's rules. They are targets, so no scene may have one.

    Args:
        folder: The repository.
    """
    return [
        name
        for file in [folder / "Snakefile", *sorted(folder.glob("rules/*.smk"))]
        for name in re.findall(
            r"^(?:use rule \w+ as|rule|checkpoint) (\w+)", file.read_text(encoding="utf-8"), re.M
        )
    ]


@dataclass(frozen=True)
class Command:
    """A call of Snakemake.

    Attributes:
        configfile: The configuration.
        cores: How many cores it may use; None: all.
        quality: In place of the one in the configuration; None: that one.
        extra: Further arguments.
        targets: What is made.
    """

    configfile: Path
    cores: int | None = None
    quality: str | None = None
    extra: tuple[str, ...] = ()
    targets: tuple[str, ...] = ("all", "views")

    @property
    def arguments(self) -> list[str]:
        """Those of `snakemake`. Targets stand before `--configfile`, which takes several files."""
        path = snakefile()
        here = path.parent == Path.cwd()
        return [
            *([] if here else ["--snakefile", str(path)]),
            *("--cores", "all" if self.cores is None else str(self.cores)),
            *self.targets,
            *self.extra,
            *("--configfile", os.fspath(self.configfile)),
            *([] if self.quality is None else ["--config", f"quality={self.quality}"]),
        ]

    @property
    def program(self) -> list[str]:
        """What is run: the Snakemake of this interpreter, wherever its programs lie."""
        return [sys.executable, "-m", "snakemake", *self.arguments]

    def __str__(self) -> str:
        """What a user would type."""
        return shlex.join(["snakemake", *self.arguments])


def environment() -> dict[str, str]:
    """Return the environment of a Snakemake, by which jobs find whichever copy of this package."""
    before = os.environ.get("PYTHONPATH")
    path = str(FOLDER) if not before else f"{FOLDER}{os.pathsep}{before}"
    return {**os.environ, "PYTHONPATH": path}


def conflicting(extra: Sequence[str]) -> str | None:
    """Return the argument of Snakemake that `gradiseg run` sets itself, if it is there."""
    own = (
        "--snakefile",
        "-s",
        "--cores",
        "-c",
        "--configfile",
        "--configfiles",
        "--directory",
        "-d",
    )
    return next((text for text in extra if text.partition("=")[0] in own), None)
