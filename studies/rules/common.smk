# Helpers of the studies' rules. What the workflow itself has (SETTINGS, wants_gpu, ...) is in the
# namespace of its module, `gradiseg`.
import os
from pathlib import Path

from gradiseg_core.config.idle import idle
from gradiseg_core.modules import closure

STUDIES_ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent


def study_core(script, also=()):
    """The script of a rule and all modules of core and studies that it runs; see `core`."""
    root = STUDIES_ROOT
    scripts = [
        root / "scripts" / script,
        root / "scripts" / "_study.py",
        *(
            root.parent / "workflow_scripts" / name
            for name in ("_stage.py", "_lifeline.py")
        ),
    ]
    modules = closure([*scripts, *also], idle(gpu=True), packages=[root])
    return [os.path.relpath(path) for path in [*scripts, *modules, *sorted(also)]]


def one_of(names):
    """A wildcard's constraint: one of the names."""
    return "|".join(names) or "(?!)"
