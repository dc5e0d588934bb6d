# Requires: nothing but the key `studies` of the configuration.
# Makes: <studies>/tabletops/{tabletop}, a rendered scene in LERF-Mask's layout with exact IDs,
#        cameras and surfaces; <studies>/degraded/{degraded}, its IDs with a tracker's errors.


rule make_tabletop:
    input:
        core=study_core("tabletop.py"),
    output:
        folder=directory("<studies>/tabletops/{tabletop}"),
    log:
        "<studies>/logs/tabletops/{tabletop}.log",
    benchmark:
        "<studies>/benchmarks/tabletops/{tabletop}.tsv"
    conda:
        "../envs/tabletop.yaml"
    threads: 2
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        config=lambda w: STUDIES.tabletops[w.tabletop].model_dump(mode="json"),
        seed=SETTINGS.root.preparation_seed,
    message:
        "{wildcards.tabletop}: render the tabletop"
    script:
        "../scripts/tabletop.py"


rule degrade_ids:
    input:
        tabletop=lambda w: f"<studies>/tabletops/{STUDIES.degraded[w.degraded].of}",
        core=study_core("degraded.py"),
    output:
        folder=directory("<studies>/degraded/{degraded}"),
    log:
        "<studies>/logs/degraded/{degraded}.log",
    benchmark:
        "<studies>/benchmarks/degraded/{degraded}.tsv"
    conda:
        "../envs/tabletop.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        config=lambda w: STUDIES.degraded[w.degraded].model_dump(mode="json"),
        seed=SETTINGS.root.preparation_seed,
    message:
        "{wildcards.degraded}: spoil exact IDs"
    script:
        "../scripts/degraded.py"
