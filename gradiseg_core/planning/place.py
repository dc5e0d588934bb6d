"""Where a run works, and how what a user reads is written for the folder that they are in."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gradiseg_core import programs

FOLDER = Path(__file__).resolve().parents[2]
"""The repository: the workflow and its own configurations."""

CONFIGURATIONS = (".yaml", ".yml")


def is_configuration(path: Path) -> bool:
    """Tell whether a path is a configuration file that is there."""
    return path.suffix.lower() in CONFIGURATIONS and path.is_file()


@dataclass(frozen=True)
class Place:
    """The folder of a run, and the one that its user is in.

    Attributes:
        folder: The working folder: relative paths of the configuration start there.
        start: Where the command was given.
        gradiseg: The command's program, as it was called.
        snakemake: Snakemake's, as a user can call it.
    """

    folder: Path
    start: Path
    gradiseg: Sequence[str]
    snakemake: Sequence[str]

    @classmethod
    def of(cls, configfile: Path | None = None) -> Place:
        """Return the place of a configuration: its own folder; without one, the present folder.

        Configurations of the repository's `config/` are written for the repository.

        Args:
            configfile: The file; None where it is yet to be written.
        """
        start = Path.cwd()
        folder = start if configfile is None else Path(os.path.abspath(configfile)).parent
        if folder.resolve() == FOLDER / "config":
            folder = folder.parent
        return cls(folder, start, programs.gradiseg(), programs.snakemake())

    @classmethod
    def where_ran(cls, configfile: Path | None) -> Place:
        """Return the place of a configuration's results: its own, or where Snakemake was called.

        Args:
            configfile: The file; None where none is given.
        """
        place = cls.of(configfile)
        if (place.folder / ".snakemake").is_dir() or not (place.start / ".snakemake").is_dir():
            return place
        return cls.of()

    @property
    def moved(self) -> bool:
        """Whether the run works in another folder than its user."""
        return self.folder != self.start

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Work there while the body runs."""
        with contextlib.chdir(self.folder) if self.moved else contextlib.nullcontext():
            yield

    def shown(self, path: Path) -> Path:
        """Return a path of the working folder as the user writes it."""
        return programs.nearest_path(self.folder / path, self.start) if self.moved else path

    def command(self, *arguments: str | Path) -> str:
        """Return a command of `gradiseg` as the user can give it.

        Args:
            *arguments: Paths are of the working folder.
        """
        written = [
            os.fspath(self.shown(part)) if isinstance(part, Path) else part for part in arguments
        ]
        return shlex.join([*self.gradiseg, *written])
