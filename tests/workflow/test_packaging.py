"""The environments, the lock and the closure of imports."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name as canonical
from packaging.version import Version
from rattler import MatchSpec
from rattler.exceptions import InvalidMatchSpecError

from envs import lock as environments
from gradiseg_core import modules
from gradiseg_core.config import backends
from gradiseg_core.config.idle import ON_GPUS
from tests.workflow.conftest import REPOSITORY
from tests.workflow.imports import host_packages, third_party

DISTRIBUTIONS = {"PIL": "pillow", "yaml": "pyyaml", "skimage": "scikit-image"}
DISTRIBUTIONS["pillow_heif"] = "pillow-heif"
DISTRIBUTIONS["segment_anything"] = "segment-anything"
DISTRIBUTIONS["huggingface_hub"] = "huggingface-hub"
SCRIPTS = REPOSITORY / "workflow_scripts"
STUDIES = REPOSITORY / "studies"
# What every script starts with.
AROUND = (
    *(SCRIPTS / name for name in ("_stage.py", "_lifeline.py")),
    STUDIES / "scripts" / "_study.py",
)
ENVIRONMENTS = {
    path.stem: path for folder in (REPOSITORY, STUDIES) for path in folder.glob("envs/*.yaml")
}
NAMES = sorted(ENVIRONMENTS)


class Run(NamedTuple):
    """A script in an environment: what runs there, and what does not.

    Attributes:
        environment: Name of the file in envs/.
        script: Path below the repository.
        without: Modules that do not run in it.
        also: Modules that run beside the script: the backend.
    """

    environment: str
    script: str
    without: tuple[str, ...]
    also: tuple[Path, ...] = ()


def rules() -> list[Run]:
    """Every rule in each of its environments."""
    found: list[Run] = []
    for text in rule_texts().values():
        script = re.search(r'"\.\./((?:workflow_)?scripts/\w+\.py)"', text)
        if script is None:
            continue
        path = ("" if script[1].startswith("workflow") else "studies/") + script[1]
        for key, name in re.findall(r'(?:(\w+)=)?"(?:\.\./)+envs/(\w+)\.yaml"', text):
            found.append(Run(name, path, ON_GPUS * (key != "cuda")))
        if stage := re.search(r'environment_of\("(\w+)"\)', text):
            for name in backends.names(stage[1]):
                backend = backends.load(stage[1], name)
                found.append(Run(backend.requires.environment, path, ON_GPUS, (backend.file,)))
    return found


def rule_texts() -> dict[str, str]:
    """The text of every rule by name, of those that take over another (`use rule`) as well."""
    texts = {}
    files = [path for folder in (REPOSITORY, STUDIES) for path in folder.glob("rules/*.smk")]
    for file in sorted(files):
        for rule in re.split(
            r"^(?=(?:use )?rule |checkpoint )", file.read_text(), flags=re.MULTILINE
        )[1:]:
            name = re.match(r"(?:use rule \w+ as|rule|checkpoint) (\w+)", rule)
            assert name is not None
            texts[name[1]] = rule
    return texts


def pins(lock: str) -> dict[str, str]:
    lines = (REPOSITORY / lock).read_text().splitlines()
    found = (re.match(r"([A-Za-z0-9_.-]+)==([^ ;\\]+)", line) for line in lines)
    return {match[1].lower(): match[2] for match in found if match}


def pip_section(name: str) -> list[str]:
    """What pip installs in an environment."""
    content = yaml.safe_load(ENVIRONMENTS[name].read_text())
    return next(entry["pip"] for entry in content["dependencies"] if isinstance(entry, dict))


def files_of(script: str, without: tuple[str, ...] = (), also: tuple[Path, ...] = ()) -> list[Path]:
    around = AROUND if script.startswith("studies") else AROUND[:2]
    roots = [REPOSITORY / script, *around, *also]
    left_out = [modules.PACKAGE_DIR / name for name in without]
    assert all(path.is_file() for path in left_out)
    packages = [STUDIES] if script.startswith("studies") else []
    return [*roots, *modules.closure(roots, left_out, packages)]


def test_every_script_belongs_to_a_rule() -> None:
    scripts = {path for folder in (SCRIPTS, STUDIES / "scripts") for path in folder.glob("*.py")}
    assert {REPOSITORY / run.script for run in rules()} == scripts - set(AROUND)


@pytest.mark.parametrize("run", rules(), ids=lambda run: f"{run.environment}-{run.script}")
def test_an_environment_holds_what_its_scripts_import(run: Run) -> None:
    tops = third_party(files_of(run.script, run.without, run.also))
    tops -= {"studies", *(path.stem for path in AROUND)}
    wanted = {DISTRIBUTIONS.get(top, top) for top in tops}
    assert wanted <= set(environments.imported_packages(ENVIRONMENTS[run.environment].read_text()))


def test_what_takes_over_a_rule_asks_its_own_stage_for_the_environment() -> None:
    texts = rule_texts()
    for name, text in texts.items():
        base = re.match(r"use rule (\w+) as", text)
        if base is None or "environment_of" not in texts[base[1]]:
            continue
        # Its parameters are those of this section, and so must the environment be.
        section = re.search(r'config=settings_of\("(\w+)"\)', text)
        assert section is not None
        own = re.search(r'environment_of\("(\w+)"\)', text)
        if section[1] != base[1]:
            assert own is not None, name
            assert own[1] == section[1], name


@pytest.mark.parametrize("name", NAMES)
def test_environments_hold_what_the_lock_has_for_their_packages(name: str) -> None:
    lock = environments.read_lock((REPOSITORY / "requirements-dev.lock").read_text())
    text = ENVIRONMENTS[name].read_text()
    assert environments.completed(text, lock) == text, "run `make lock`"


@pytest.mark.parametrize("name", NAMES)
def test_environments_in_the_words_of_conda_and_pip(name: str) -> None:
    content = yaml.safe_load(ENVIRONMENTS[name].read_text())
    assert set(content) == {"channels", "dependencies"}
    assert content["channels"] == ["conda-forge", "nodefaults"]
    specs = [entry for entry in content["dependencies"] if isinstance(entry, str)]
    assert specs == sorted(specs, key=lambda spec: (not spec.startswith("python="), spec))
    parsed = {str(MatchSpec(spec, strict=True).name.normalized): spec for spec in specs}
    assert {"python", "pip"} <= set(parsed) <= {"python", "pip", "git"}
    assert MatchSpec(parsed["python"], strict=True).version == "3.11.*"
    for line in pip_section(name):
        requirement = Requirement(line)
        (specifier,) = requirement.specifier
        assert specifier.operator == "=="
        assert Version(specifier.version)
        assert not requirement.url
        assert not requirement.extras


def test_a_match_spec_that_conda_would_refuse() -> None:
    for wrong in ("python==3.11.*", "python=>3.11", "numpy 2.4 py311 x"):
        with pytest.raises(InvalidMatchSpecError):
            MatchSpec(wrong, strict=True)


def test_every_environment_is_used() -> None:
    assert {run.environment for run in rules()} == set(NAMES)


def test_a_lock_gives_what_a_package_requires() -> None:
    lock = environments.read_lock(LOCK)
    assert lock["torch"] == ("2.0", {"lpips"})
    text = f"dependencies:\n  - pip:\n      - lpips==0.1\n{environments.MARKER}      - old==1\n"
    assert environments.completed(text, lock) == (
        "dependencies:\n  - pip:\n      - lpips==0.2\n"
        + environments.MARKER
        + "      - colorama==1.0 ; sys_platform == 'win32'\n      - torch==2.0\n"
        + "      - tqdm==4.0\n"
    )
    with pytest.raises(ValueError, match=r"no mystery.*pyproject"):
        environments.completed("      - mystery==1\n", lock)


def test_of_a_package_locked_twice_the_version_for_our_python_is_taken() -> None:
    newer = "av==19 ; python_full_version >= '3.12' \\\n    --hash=sha256:0\n    # via x\n"
    ours = newer.replace("19", "18").replace(">=", "<")
    for text in (newer + ours, ours + newer):
        assert environments.read_lock(text)["av"].version == "18 ; python_full_version < '3.12'"


LOCK = """\
# This file was autogenerated
colorama==1.0 ; sys_platform == 'win32' \\
    --hash=sha256:0
    # via tqdm
lpips==0.2 \\
    --hash=sha256:1 \\
    --hash=sha256:2
    # via gradiseg (pyproject.toml)
other==3.0 \\
    --hash=sha256:3
    # via
    #   -c requirements.lock
    #   gradiseg (pyproject.toml)
torch==2.0 \\
    --hash=sha256:4
    # via lpips
tqdm==4.0 \\
    --hash=sha256:5
    # via
    #   -c requirements.lock
    #   gradiseg (pyproject.toml)
    #   lpips
"""


def test_deva_is_installed_at_the_commit_that_the_backend_names() -> None:
    from gradiseg_core.stages.tracking.deva.package import COMMIT, INSTALL

    script = (REPOSITORY / "envs" / "deva.post-deploy.sh").read_text()
    assert f"commit={COMMIT}\n" in script
    (address,) = re.findall(r"deva @ (git\+https://[^@]+)@", INSTALL)
    assert f'"deva @ {address}@${{commit}}"' in script


def test_the_locks_agree_and_name_no_index() -> None:
    run, develop = pins("requirements.lock"), pins("requirements-dev.lock")
    assert run.items() <= develop.items()
    for lock in ("requirements.lock", "requirements-dev.lock"):
        text = (REPOSITORY / lock).read_text()
        assert not re.search(r"https?:|--index|--find-links|file:", text)
        blocks = re.findall(r"^[A-Za-z0-9].*(?:\n    .*)*", text, flags=re.MULTILINE)
        assert blocks
        assert all("--hash=sha256:" in block for block in blocks)


def test_what_the_package_imports_is_declared() -> None:
    declared = (REPOSITORY / "pyproject.toml").read_text()
    dependencies = set(re.findall(r'^    "([a-z0-9-]+)[><=]', declared, flags=re.MULTILINE))
    files = list((REPOSITORY / "gradiseg_core").rglob("*.py"))
    tops = {DISTRIBUTIONS.get(top, top) for top in third_party(files)}
    assert tops <= dependencies


def test_no_test_imports_another() -> None:
    """What several need is a module beside them, so that one can be read and run alone."""
    imports = re.compile(r"^ *(?:from|import) (tests[\w.]*\.test_\w+)", re.MULTILINE)
    paths = (REPOSITORY / "tests").rglob("*.py")
    found = {path.name: imports.findall(path.read_text()) for path in paths}
    assert {name: others for name, others in found.items() if others} == {}


WITHOUT = """\
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ImportError(name)

sys.meta_path.insert(0, Absent())
{imports}
from pathlib import Path
from gradiseg_core.config.reading import read_files
from gradiseg_core.config.root import load
load(read_files([Path("config.yaml")]), Path())
"""


def test_snakemake_needs_what_the_readme_says() -> None:
    """The rules are read, and the configuration with them, where nothing else is installed."""
    lock = environments.read_lock((REPOSITORY / "requirements-dev.lock").read_text())
    hosts = set(host_packages())
    while more := {name for name, locked in lock.items() if locked.parents & hosts} - hosts:
        hosts |= more
    assert "pyyaml" in hosts
    installed = packages_distributions()
    absent = {top for top, names in installed.items() if not {*map(canonical, names)} & hosts}
    rules = (REPOSITORY / "rules" / "common.smk").read_text()
    imports = re.findall(r"^from gradiseg_core.*import .*$", rules, flags=re.MULTILINE)
    assert {"torch", "scipy", "skimage"} <= absent - {"gradiseg_core"}
    assert imports
    code = WITHOUT.format(absent=absent - {"gradiseg_core"}, imports="\n".join(imports))
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)


def test_closure_follows_lazy_and_relative_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "pack"
    (package / "sub").mkdir(parents=True)
    (package / "empty" / "tables").mkdir(parents=True)
    sources = {
        "__init__.py": "import os\nVERSION = 1\ndef __getattr__(name):\n    return os\n",
        "sub/__init__.py": "WORK = print()\ndef use():\n    from pack import late\n",
        "sub/one.py": "from ..base import x\n",
        "base.py": "x = 1\n",
        "late.py": "",
        "lazy.py": "import numpy\n",
        "backend.py": "",
        "empty/__init__.py": '"""Only a docstring."""\n',
        "empty/two.py": "TABLE = 'tables/named.json'\n",
        "empty/tables/named.json": "{}",
        "empty/tables/other.json": "{}",
        "typing_only.py": "",
        "unused.py": "",
        "sub/table.json": "{}",
    }
    for name, text in sources.items():
        (package / name).write_text(text)
    script = tmp_path / "script.py"
    script.write_text(
        "from typing import TYPE_CHECKING\n"
        "import yaml\n"
        "from pack.sub.one import x\n"
        "from pack.empty import two\n"
        "if TYPE_CHECKING:\n    from pack import typing_only\n"
        "def f():\n    import pack.lazy\n"
        "BACKENDS = {'a': 'pack.backend:make', 'b': 'pack.backend'}\n"
    )
    monkeypatch.setattr(modules, "PACKAGE_DIR", package)
    modules._cached_module_file.cache_clear()
    try:
        found = {path.relative_to(package).as_posix() for path in modules.closure([script])}
        assert found == {
            "sub/__init__.py",  # runs when sub.one is imported, but its functions do not
            "sub/one.py",
            "empty/two.py",  # but not empty/__init__.py nor __init__.py, which do nothing to it
            "empty/tables/named.json",
            "base.py",
            "lazy.py",
        }
        left_out = modules.closure([script], without=[package / "sub" / "one.py"])
        assert {package / "sub" / "one.py", package / "base.py"}.isdisjoint(left_out)
        script.write_text("from pack.sub import use\n")
        modules.imported_names.cache_clear()
        found = {path.relative_to(package).as_posix() for path in modules.closure([script])}
        assert found == {"sub/__init__.py", "late.py"}
        script.write_text("from pack import VERSION\n")
        modules.imported_names.cache_clear()
        assert modules.closure([script]) == [package / "__init__.py"]
        assert third_party([package / "lazy.py"]) == {"numpy"}
    finally:
        modules._cached_module_file.cache_clear()
        modules.imported_names.cache_clear()
