"""The environments, the lock and the closure of imports."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

from gradiseg_core import modules
from tests.workflow.conftest import REPOSITORY

DISTRIBUTIONS = {"PIL": "pillow", "yaml": "pyyaml", "skimage": "scikit-image"}
DISTRIBUTIONS["segment_anything"] = "segment-anything"
DISTRIBUTIONS["huggingface_hub"] = "huggingface-hub"
# What runs on a GPU alone, and so in envs/train_cuda.yaml and no other environment.
ON_GPUS_ONLY = ("rasterization/gsplat.py", "gsplat_build.py")
SCRIPTS = REPOSITORY / "workflow_scripts"


def rules() -> list[tuple[str, str, tuple[str, ...]]]:
    """(environment, script, backends that do not run in it) of every rule and environment."""
    found: list[tuple[str, str, tuple[str, ...]]] = []
    for file in sorted((REPOSITORY / "rules").glob("*.smk")):
        for rule in re.split(r"^rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            script = re.search(r'workflow_scripts/(\w+\.py)"', rule)
            if script is None:
                continue
            named = re.findall(r'(?:(\w+)=)?"\.\./envs/(\w+)\.yaml"', rule)
            stage = re.search(r'by_backend\(\s*"(\w+)"', rule)
            special = tuple(
                f"{stage[1]}/{key}.py" for key, _ in named if stage and key != "default"
            )
            for key, name in named:
                without = special * (key == "default") + ON_GPUS_ONLY * (key != "cuda")
                found.append((name, script[1], without))
    return found


def pins(lock: str) -> dict[str, str]:
    lines = (REPOSITORY / lock).read_text().splitlines()
    found = (re.match(r"([A-Za-z0-9_.-]+)==([^ ;\\]+)", line) for line in lines)
    return {match[1].lower(): match[2] for match in found if match}


def environment(name: str) -> dict[str, str]:
    """Pinned packages that pip installs in an environment."""
    content = yaml.safe_load((REPOSITORY / "envs" / f"{name}.yaml").read_text())
    listed = next(entry["pip"] for entry in content["dependencies"] if isinstance(entry, dict))
    return dict(package.split("==") for package in listed)


def files_of(script: str, without: tuple[str, ...] = ()) -> list[Path]:
    roots = [SCRIPTS / script, SCRIPTS / "_stage.py"]
    left_out = [modules.PACKAGE_DIR / name for name in without]
    assert all(path.is_file() for path in left_out)
    return [*roots, *modules.closure(roots, left_out)]


def test_every_script_belongs_to_a_rule() -> None:
    scripts = {path.name for path in SCRIPTS.glob("*.py")} - {"_stage.py"}
    assert {script for _, script, _ in rules()} == scripts


@pytest.mark.parametrize(("name", "script", "without"), rules())
def test_an_environment_holds_what_its_scripts_import(
    name: str, script: str, without: tuple[str, ...]
) -> None:
    tops = modules.third_party(files_of(script, without)) - {"_stage"}
    wanted = {DISTRIBUTIONS.get(top, top) for top in tops}
    assert wanted <= set(environment(name))


@pytest.mark.parametrize("name", sorted({name for name, _, _ in rules()}))
def test_environments_pin_the_versions_of_the_lock(name: str) -> None:
    locked = pins("requirements-dev.lock")  # holds requirements.lock, and the extra `models`
    for package, version in environment(name).items():
        assert locked[package] == version, f"envs/{name}.yaml: {package}"


def test_deva_is_installed_at_the_commit_that_the_backend_names() -> None:
    from gradiseg_core.tracking.deva_package import COMMIT, INSTALL

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
    tops = {DISTRIBUTIONS.get(top, top) for top in modules.third_party(files)}
    assert tops <= dependencies


def test_closure_follows_lazy_relative_and_registered_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "pack"
    (package / "sub").mkdir(parents=True)
    sources = {
        "__init__.py": "",
        "sub/__init__.py": "def use():\n    from pack import late\n",
        "sub/one.py": "from ..base import x\n",
        "base.py": "x = 1\n",
        "late.py": "",
        "lazy.py": "import numpy\n",
        "backend.py": "",
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
        "if TYPE_CHECKING:\n    from pack import typing_only\n"
        "def f():\n    import pack.lazy\n"
        "BACKENDS = {'a': 'pack.backend:make', 'b': 'pack is a package', 'c': 'pack.missing'}\n"
    )
    monkeypatch.setattr(modules, "PACKAGE", "pack")
    monkeypatch.setattr(modules, "PACKAGE_DIR", package)
    modules._cached_module_file.cache_clear()
    try:
        found = {path.relative_to(package).as_posix() for path in modules.closure([script])}
        assert found == {
            "__init__.py",
            "sub/__init__.py",  # runs when sub.one is imported, but its functions do not
            "sub/one.py",
            "sub/table.json",
            "base.py",
            "lazy.py",
            "backend.py",
        }
        script.write_text("from pack.sub import use\n")
        modules.imported_names.cache_clear()
        found = {path.relative_to(package).as_posix() for path in modules.closure([script])}
        assert "late.py" in found
        assert modules.third_party([package / "lazy.py"]) == {"numpy"}
    finally:
        modules._cached_module_file.cache_clear()
        modules.imported_names.cache_clear()


def test_closure_names_what_really_runs() -> None:
    """Modules that an import loads are a subset of what the static analysis finds."""
    import subprocess

    code = (
        "import sys; import gradiseg_core.masks; "
        "print('\\n'.join(m.__file__ for n, m in sys.modules.items() "
        "if n.split('.')[0] == 'gradiseg_core'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    loaded = {Path(line).resolve() for line in done.stdout.split()}
    assert loaded <= set(files_of("masks.py"))
