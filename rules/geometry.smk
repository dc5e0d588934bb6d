# Requires: undistorted photographs, cameras and sparse points.
# Makes: <results>/{scene}/geometry, a surface of the scene from colour alone and the objects on it.
#
# A checkpoint: whether `tracking` needs segments of single views is known when this has run.


checkpoint geometry:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        core=core_of("geometry.py", "geometry"),
    output:
        geometry=report(
            directory("<results>/{scene}/geometry"),
            patterns=["{name}.png"],
            caption="../report/geometry.rst",
            category="Objects",
            labels={"scene": "{scene}", "picture": "{name}"},
        ),
    log:
        "<results>/{scene}/logs/geometry.log",
    benchmark:
        "<results>/{scene}/benchmarks/geometry.tsv"
    conda:
        by_device(
            "geometry",
            default="../envs/geometry.yaml",
            cuda="../envs/geometry_cuda.yaml",
        )
    threads: 4
    resources:
        mem_mb=4000,
        runtime=120,
        gpu=wants_gpu("geometry"),
    params:
        config=settings_of("geometry"),
        seed=SETTINGS.root.preparation_seed,
    message:
        "{wildcards.scene}: a surface from colour alone"
    script:
        "../workflow_scripts/geometry.py"
