"""A stand-in for `conda`: answers what Snakemake 9 asks, and makes environments with uv.

Of an environment file it takes what envs/ uses: Python, pip, git, and packages that pip installs.
It does not solve: whether conda's channels hold what the file names is not known here.

Called as ``conda_stand_in.py <prefix> <arguments of conda>...``; the questions are those of
``snakemake/deployment/conda.py``.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from uv import find_uv_bin

VERSION = "24.9.1"
ACTIVATE = 'export CONDA_PREFIX="$1"\nexport PATH="$1/bin:$PATH"\n'


def install(folder: Path) -> Path:
    """Put `conda` and its activation script below a folder; return the one for PATH."""
    binaries = folder / "bin"
    binaries.mkdir(parents=True)
    call = shlex.join([sys.executable, str(Path(__file__).resolve()), str(folder)])
    (binaries / "conda").write_text(f'#!/bin/sh\nexec {call} "$@"\n')
    (binaries / "conda").chmod(0o755)
    (binaries / "activate").write_text(ACTIVATE)
    return binaries


def main(prefix: str, *arguments: str) -> None:
    match arguments:
        case ["--version"]:
            print(f"conda {VERSION}")
        case ["info", "--json"]:
            print(json.dumps({"conda_prefix": prefix, "platform": "linux-64"}))
        case ["config", "--get", "channel_priority", "--json"]:
            print(json.dumps({"get": {"channel_priority": "strict"}}))
        case ["clean", "-y", *_]:
            pass  # uv's cache is the user's
        case ["env", "create", *options]:
            parser = argparse.ArgumentParser()
            parser.add_argument("--quiet", action="store_true")
            parser.add_argument("--no-default-packages", action="store_true")
            parser.add_argument("--file", type=Path, required=True)
            parser.add_argument("--prefix", type=Path, required=True)
            given = parser.parse_args(options)
            create(given.file, given.prefix)
        case _:
            sys.exit(f"the stand-in for conda does not know: conda {shlex.join(arguments)}")


def create(file: Path, prefix: Path) -> None:
    """Make the environment of a file as a virtual environment."""
    entries = yaml.safe_load(file.read_text())["dependencies"]
    python, packages = None, []
    for entry in entries:
        match entry:
            case {"pip": list(listed)}:
                packages += listed
            case "pip":
                packages.append("pip")
            case "git":
                if shutil.which("git") is None:
                    sys.exit(f"{file} names git, which is not on this machine")
            case str(spec) if spec.startswith("python="):
                python = spec.removeprefix("python=")
            case _:
                sys.exit(f"the stand-in for conda cannot install {entry!r} of {file}")
    if python is None or "pip" not in entries:
        sys.exit(f"{file} names no python or no pip")
    uv = find_uv_bin()
    subprocess.run([uv, "venv", "--quiet", "--python", python, prefix], check=True)
    requirements = prefix / "requirements.txt"
    requirements.write_text("\n".join(packages) + "\n")
    interpreter = prefix / "bin" / "python"
    command = [uv, "pip", "install", "--quiet", "--python", interpreter, "-r", requirements]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
