"""The commands that README.md and the other pages print: none is overlooked, none leads astray."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

import pytest
import yaml

from gradiseg_core.config.sections import RootConfig
from tests.workflow.conftest import REPOSITORY

README = REPOSITORY / "README.md"


@pytest.fixture(scope="module")
def runner() -> ModuleType:
    path = REPOSITORY / ".ci" / "readme_commands.py"
    spec = importlib.util.spec_from_file_location("readme_commands", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_commands_are_found_in_blocks_and_in_the_text(runner: ModuleType) -> None:
    page = (
        "Run `make\ndemo` with `snakemake` or `make demo`.\n\n```\nsnakemake --cores 1   # all\n"
        "# a comment\n```\n\n```yaml\nmake: no command\n```\n| x | `snakemake -n` |\n"
        "```sh\nother program && more\n```\n`results/x` and `masks: {backend: sam}`\n"
        "<!-- table: x -->\n| 1 |\n\n*[x.json](x.json): `make study`.*\n<!-- end -->\n"
    )
    found = ["make demo", "snakemake --cores 1", "snakemake -n", "other program && more"]
    assert runner.commands(page) == found


def test_every_exception_is_a_command_of_the_readme(runner: ModuleType) -> None:
    listed = runner.commands(README.read_text())
    assert not {*runner.EXCEPTIONS, *runner.SERVERS} - set(listed)
    run = [command for command in listed if command not in runner.EXCEPTIONS]
    assert "make VENV=.venv-user demo" in (REPOSITORY / ".ci" / "run").read_text()
    assert "snakemake --report report.html" in run
    assert "snakemake --cores all kitchen --configfile my.yaml" in run
    assert run[0].startswith("git clone")  # the others run in what it makes


def test_the_readmes_configuration_is_valid(runner: ModuleType) -> None:
    example, *others = runner.examples(README.read_text())
    assert not others
    RootConfig.model_validate(yaml.safe_load(example + runner.SHORT))


def test_targets_stand_before_configfile() -> None:
    """After it, Snakemake takes them for files: FileNotFoundError 'kitchen'."""
    pages = [README, *REPOSITORY.glob("*.yaml"), REPOSITORY / "Makefile"]
    pages += [page for folder in ("docs", "config") for page in (REPOSITORY / folder).glob("*.*")]
    pages += [*(REPOSITORY / "gradiseg_core").rglob("*.py"), *(REPOSITORY / "rules").glob("*.smk")]
    wrong, count = [], 0
    for page in pages:
        if page.suffix not in (".md", ".yaml", ".py", ".smk", ""):
            continue
        for line in re.findall(r"snakemake [^`\n]*--configfile ([^`#\n]*)", page.read_text()):
            written = re.sub(r"<[^>]*>", "x.yaml", line)  # <one of them>
            files = re.split(r"\s-|[;,:]|\s{2}", written)[0].split()
            count += 1
            if not all(file.endswith(".yaml") for file in files):
                wrong.append(f"{page.name}: {line}")
    assert not wrong
    assert count > 10  # they are found at all
