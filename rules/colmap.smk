# Requires: the scene's photographs.
# Makes: <results>/{scene}/colmap, undistorted images, cameras and sparse points in COLMAP's layout;
# a page of the photographs that got no camera.


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
        # Beside the log: it survives a failed job, and Snakemake would print a log in full.
        page=lambda w: str(
            Path(SETTINGS.root.results, w.scene, "logs", "photographs.html")
        ),
    message:
        "{wildcards.scene}: structure from motion"
    script:
        "../workflow_scripts/colmap.py"
