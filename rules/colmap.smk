# Requires: the scene's photographs.
# Makes: <results>/{scene}/colmap, undistorted images, cameras and sparse points in COLMAP's layout.


rule colmap:
    input:
        scene=rules.scene.output.scene,
        core=core("colmap.py"),
    output:
        colmap=directory("<results>/{scene}/colmap"),
    log:
        "<results>/{scene}/logs/colmap.log",
    benchmark:
        "<results>/{scene}/benchmarks/colmap.tsv"
    conda:
        "../envs/colmap.yaml"
    threads: 8
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        config=settings_of("colmap"),
        seed=SETTINGS.root.preparation_seed,
        work=work("colmap"),
    message:
        "{wildcards.scene}: structure from motion"
    script:
        "../workflow_scripts/colmap.py"
