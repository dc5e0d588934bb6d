# Requires: undistorted photographs; given masks where the backend takes them.
# Makes: <results>/{scene}/masks, one map of segments per training view.


rule masks:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        given=given("masks"),
        core=core("masks.py"),
    output:
        masks=directory("<results>/{scene}/masks"),
    log:
        "<results>/{scene}/logs/masks.log",
    benchmark:
        "<results>/{scene}/benchmarks/masks.tsv"
    conda:
        "../envs/masks.yaml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        config=settings_of("masks"),
    message:
        "{wildcards.scene}: segment every training view"
    script:
        "../workflow_scripts/masks.py"
