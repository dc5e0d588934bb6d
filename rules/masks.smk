# Requires: undistorted photographs; given masks or a checkpoint, if the backend needs them.
# Makes: <results>/{scene}/masks, one map of segments per training view.


rule masks:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        given=given("masks"),
        weights=weights_of("masks"),
        core=core_of("masks.py", "masks"),
    output:
        masks=directory("<results>/{scene}/masks"),
    log:
        "<results>/{scene}/logs/masks.log",
    benchmark:
        "<results>/{scene}/benchmarks/masks.tsv"
    conda:
        environment_of("masks")
    threads: 4
    resources:
        mem_mb=memory_of("masks"),
        runtime=runtime_of("masks"),
        gpu=wants_gpu("masks"),
    params:
        given_otherwise=given_otherwise("masks"),
        config=settings_of("masks"),
        work=work("masks"),
    message:
        "{wildcards.scene}: segment every training view by backend {params.config[backend]}"
    script:
        "../workflow_scripts/masks.py"
