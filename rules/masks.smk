# Requires: undistorted photographs; given masks or a checkpoint where the backend takes them.
# Makes: <results>/{scene}/masks, one map of segments per training view.


rule masks:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        given=given("masks"),
        weights=weights_of("masks"),
        core=core("masks.py"),
    output:
        masks=directory("<results>/{scene}/masks"),
    log:
        "<results>/{scene}/logs/masks.log",
    benchmark:
        "<results>/{scene}/benchmarks/masks.tsv"
    conda:
        by_backend("masks", default="../envs/masks.yaml", sam="../envs/sam.yaml")
    threads: 4
    resources:
        mem_mb=by_backend("masks", default=4000, sam=16000),
        runtime=by_backend("masks", default=120, sam=1440),
        gpu=wants_gpu("masks", "sam"),
    params:
        given_otherwise=given_otherwise("masks"),
        config=settings_of("masks"),
        work=work("masks"),
    message:
        "{wildcards.scene}: segment every training view"
    script:
        "../workflow_scripts/masks.py"
