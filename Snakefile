# From photographs to tables: `snakemake --cores all` runs everything in config.yaml.
# Targets: all (default), the name of a scene, tables, views, edits, exports, paper_tables. See
# docs/architecture.md.
from snakemake.utils import min_version

min_version("9.15")


# A `--configfile` replaces the shipped demo. Without this condition Snakemake would merge the two, and
# the demo scene would run as well.
if not workflow.configfiles:

    configfile: "config.yaml"


include: "rules/common.smk"


pathvars:
    results=SETTINGS.root.results,
    downloads=SETTINGS.root.downloads.folder,
    run="<results>/{scene}/{variant}/seed{seed}",


wildcard_constraints:
    scene="|".join(SETTINGS.scenes),
    variant="|".join(SETTINGS.all_variants()),
    seed="|".join(map(str, SETTINGS.all_seeds())),
    export="[A-Za-z0-9_-]+",
    edit="[A-Za-z0-9_-]+",


report: "report/workflow.rst"


include: "rules/downloads.smk"
include: "rules/scene.smk"
include: "rules/colmap.smk"
include: "rules/geometry.smk"
include: "rules/masks.smk"
include: "rules/tracking.smk"
include: "rules/train.smk"
include: "rules/render.smk"
include: "rules/grounding.smk"
include: "rules/metrics.smk"
include: "rules/view.smk"
include: "rules/second.smk"
include: "rules/tracks_2d.smk"
include: "rules/tables.smk"
include: "rules/report.smk"
include: "rules/edits.smk"
include: "rules/exports.smk"


onstart:
    keep_budgets(SETTINGS)
    for line in say_plan(SETTINGS, jobs_of_run(), cores() or 1):
        print(line, file=sys.stderr)


onsuccess:
    learn(SETTINGS, cores(), BEGUN)


onerror:
    learn(SETTINGS, cores(), BEGUN)


rule all:
    default_target: True
    input:
        [results_of(scene) for scene in SETTINGS.scenes],
        rules.tables.output,
        rules.quality.output,
        rules.paper_tables.output if PAPER.scenes else [],


# One target per scene: `snakemake --cores all <scene>`.
for scene in SETTINGS.scenes:

    rule:
        name:
            scene
        input:
            results_of(scene),
