"""The workflow beside this package: its Snakefile, names of its rules, a command that runs it."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gradiseg_core.errors import InputError
from gradiseg_core.planning import quietly
from gradiseg_core.planning.place import FOLDER, Place


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


#: Arguments of Snakemake that make again what is done, or make nothing.
_ANEW = {
    *("--force", "-f", "--forceall", "-F", "--forcerun", "-R", "--unlock", "--rerun-incomplete"),
    *("--ri", "--touch", "-t"),
}


@dataclass(frozen=True)
class Command:
    """A call of Snakemake.

    Attributes:
        configfile: The configuration, from the working folder.
        cores: How many cores it may use; None: all.
        quality: In place of the one in the configuration; None: that one.
        extra: Further arguments.
        targets: What is made.
        place: Where it runs, and where its user is.
    """

    configfile: Path
    cores: int | None = None
    quality: str | None = None
    extra: tuple[str, ...] = ()
    targets: tuple[str, ...] = ("all", "views")
    place: Place = field(default_factory=Place.of)

    def _arguments(self, start: Path, folder: Path | None, configfile: Path) -> list[str]:
        """Return those of `snakemake`. Targets stand before `--configfile`, which takes several.

        Args:
            start: Where the command is given.
            folder: The working folder, where it is another.
            configfile: The configuration as it is written there.
        """
        path = snakefile()
        return [
            *([] if path.parent == start else ["--snakefile", str(path)]),
            *([] if folder is None else ["--directory", os.fspath(folder)]),
            *("--cores", "all" if self.cores is None else str(self.cores)),
            *self.targets,
            *self.extra,
            *("--configfile", os.fspath(configfile)),
            *([] if self.quality is None else ["--config", f"quality={self.quality}"]),
        ]

    @property
    def program(self) -> list[str]:
        """What is run in the working folder: the Snakemake of this interpreter."""
        arguments = self._arguments(self.place.folder, None, self.configfile)
        return [sys.executable, quietly.__file__, "snakemake", *arguments]

    def __str__(self) -> str:
        """What a user would type for the same."""
        place = self.place
        folder = place.shown(place.folder) if place.moved else None
        arguments = self._arguments(place.start, folder, place.shown(self.configfile))
        return shlex.join([*place.snakemake, *arguments])

    @property
    def again(self) -> str:
        """What a user types to go on, by which nothing is begun anew that is done."""
        quality = [] if self.quality is None else ["--quality", self.quality]
        cores = [] if self.cores is None else ["--cores", str(self.cores)]
        extra = without(self.extra, _ANEW)
        after = ["--", *extra] if extra else []
        return self.place.command("run", self.configfile, *quality, *cores, *after)


def without(arguments: Iterable[str], options: Collection[str]) -> list[str]:
    """Return arguments of Snakemake without some options and their values.

    Args:
        arguments: Any.
        options: Their names.
    """
    kept, leaves_out = [], False
    for text in arguments:
        if text.startswith("-"):
            leaves_out = text.partition("=")[0] in options
        if not leaves_out:
            kept.append(text)
    return kept


def environment() -> dict[str, str]:
    """Return the environment of a Snakemake, by which jobs find whichever copy of this package."""
    before = os.environ.get("PYTHONPATH")
    path = str(FOLDER) if not before else f"{FOLDER}{os.pathsep}{before}"
    return {**os.environ, "PYTHONPATH": path}


#: Arguments of Snakemake that take names of rules.
_OF_RULES = {"--forcerun", "-R", "--until", "-U", "--omit-from", "-O"}


def unknown_rule(extra: Iterable[str]) -> str | None:
    """Return what among arguments of Snakemake should name a rule and does not, if it is there.

    A name with a slash or a dot is a file's, which Snakemake takes there too.
    """
    option, rules = "", {*rule_names()}
    for text in extra:
        name = text
        if text.startswith("-"):
            option, _, name = text.partition("=")
        if option in _OF_RULES and name and not {"/", "."} & {*name} and name not in rules:
            return name
    return None


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
