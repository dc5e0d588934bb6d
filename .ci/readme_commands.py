#!/usr/bin/env python
"""Runs every command of README.md, in a clone, with what the README installs and nothing else.

Started by `.ci/run` with the Python of an environment that `make install` made. Commands are read
from README.md itself, in its order; one that is neither run nor among EXCEPTIONS is an error, and
so is an exception that the README no longer names. The scenes are the README's, and trainings are
short.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: Commands that are not run here, and why.
EXCEPTIONS = {
    "make demo": "the step of .ci/run before this one",
    ".venv/bin/gradiseg run photos/kitchen": "the same further down, by its name alone",
    "make run PHOTOS=photos/kitchen": "would install this clone over the environment",
    "pytest -m slow tests/workflow/test_conda.py": "for developers; minutes, and the index",
    "gradiseg doctor": "says no on a machine without a GPU, by its exit status",
    "pip install -e '.[models]'": "adds packages to what is tested here; weights follow",
    "snakemake --cores all --use-conda --configfile config/paper.yaml": "conda, data, a GPU",
}

#: Commands that run until they are stopped, and what they say when all is well.
SERVERS = {"tensorboard --logdir results": "http://"}

#: Training that shows whether the commands work, not more.
SHORT = """
variants: [baseline, gradiseg_plus]
train: {iterations: 60, longest_side: 100, num_classes: auto, densification: {max_gaussians: 4000}}
"""

_PROGRAMS = (
    *("snakemake", "gradiseg", "make", "pip", "git", "python", "pytest", "tensorboard"),
    *("conda", "uv"),
)


def commands(text: str) -> list[str]:
    """Return the shell commands of a Markdown page in order, each once.

    Lines of code blocks that name no other language, and code inside the text that begins with a
    program and has an argument; comments at their end are left out. So are generated tables: the
    command below one says how it was measured, which may have taken days.
    """
    found = []
    text = re.sub(r"^<!-- table: .*?^<!-- end -->$", "", text, flags=re.MULTILINE | re.DOTALL)
    for block, language, body, inline in re.findall(
        r"^(```)(\w*)\n(.*?)^```$|`([^`]+)`", text, flags=re.MULTILINE | re.DOTALL
    ):
        if block and language in ("", "sh", "bash", "shell"):
            found += body.splitlines()
        elif not block and re.match(rf"({'|'.join(_PROGRAMS)})\s+\S", inline):
            found.append(" ".join(inline.split()))
    plain = [re.sub(r"\s+#.*", "", line).strip() for line in found]
    return list(dict.fromkeys(line for line in plain if line and not line.startswith("#")))


def examples(text: str) -> list[str]:
    """Return the YAML blocks of a Markdown page."""
    return re.findall(r"^```yaml\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def run(command: str, folder: Path, environment: dict[str, str]) -> None:
    """Run a command as a user's shell does.

    Raises:
        SystemExit: If it fails.
    """
    print(f"\n--- {command}", flush=True)
    begun = time.monotonic()
    shell = ["bash", "-euo", "pipefail", "-c", command]
    if command in SERVERS:
        _run_server(shell, folder, environment, SERVERS[command])
    elif status := subprocess.run(shell, cwd=folder, env=environment, check=False).returncode:
        raise SystemExit(f"README.md's command failed ({status}): {command}")
    print(f"--- {time.monotonic() - begun:.0f} s", flush=True)


def _run_server(shell: list[str], folder: Path, environment: dict[str, str], expected: str) -> None:
    with (folder / "server.log").open("w+") as log:
        server = subprocess.Popen(
            shell, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            end = time.monotonic() + 120
            while expected not in (folder / "server.log").read_text():
                if server.poll() is not None or time.monotonic() > end:
                    said = (folder / "server.log").read_text()
                    raise SystemExit(f"README.md's command did not serve: {shell[-1]}\n{said}")
                time.sleep(0.5)
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGTERM)
            server.wait()


def main() -> None:
    """Run all commands.

    Raises:
        SystemExit: If one fails, or leaves not behind what the README says.
    """
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = commands(text)
    gone = sorted({*EXCEPTIONS, *SERVERS} - set(listed))
    if gone:
        raise SystemExit(f"no longer in README.md, so no exceptions: {', '.join(gone)}")
    binaries = Path(sys.prefix) / "bin"
    environment = {**os.environ, "VENV": sys.prefix, "VIRTUAL_ENV": sys.prefix}
    environment["PATH"] = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    environment.pop("PYTHONPATH", None)
    with tempfile.TemporaryDirectory(prefix="gradiseg-readme-") as name:
        folder = Path(name)
        for command in listed:
            if command in EXCEPTIONS:
                print(f"\n--- not run: {command} ({EXCEPTIONS[command]})", flush=True)
                continue
            run(command.replace("<this repository>", str(ROOT)), folder, environment)
            if command.startswith("git clone"):
                folder /= "gradiseg"
                _prepare(folder, text)
        _check(folder)


def _prepare(clone: Path, text: str) -> None:
    """Give the clone the README's scene, and short trainings."""
    shutil.copytree(clone / "resources" / "demo" / "images", clone / "photos" / "kitchen")
    (clone / "my.yaml").write_text(examples(text)[0] + SHORT)
    shutil.copy(clone / "my.yaml", clone / "kitchen.yaml")  # which `gradiseg run` then takes
    (clone / "config.yaml").write_text("scenes: {demo: {source: demo}}\n" + SHORT)


def _check(clone: Path) -> None:
    wanted = ["report.html", "results/tables/tables.md"]
    for scene in ("demo", "kitchen"):
        wanted += [f"results/{scene}/tracking/contact_sheet.png"]
        wanted += [f"results/{scene}/gradiseg_plus/seed0/train/point_cloud.ply"]
    missing = [path for path in wanted if not (clone / path).is_file()]
    if missing:
        raise SystemExit(f"README.md's commands made no {', '.join(missing)}")


if __name__ == "__main__":
    main()
