# Requires: cameras and SfM tracks; a surface, segments of each view, given IDs or checkpoints, as the
#           backend needs them.
# Makes: <results>/{scene}/tracking, ID maps in which an object has one ID in all views;
#        <results>/{scene}/association, its score, if the scene has exact IDs.


rule tracking:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        geometry=geometry_of("tracking"),
        masks=masks_of,
        given=given("tracking"),
        weights=weights_of("tracking"),
        core=core_of("tracking.py", "tracking"),
    output:
        tracking=report(
            directory("<results>/{scene}/tracking"),
            patterns=["{name,[^/]+}.png"],
            caption="../report/contact_sheet.rst",
            category="Objects",
            labels={"scene": "{scene}", "picture": "{name}"},
        ),
    log:
        "<results>/{scene}/logs/tracking.log",
    benchmark:
        "<results>/{scene}/benchmarks/tracking.tsv"
    conda:
        environment_of("tracking")
    threads: 2
    resources:
        mem_mb=memory_of("tracking"),
        runtime=runtime_of("tracking"),
        gpu=wants_gpu("tracking"),
    params:
        given_otherwise=given_otherwise("tracking"),
        config=settings_of("tracking"),
        instead_of_geometry=instead_of_geometry("tracking"),
        max_ids=lambda w: SETTINGS.num_classes(w.scene),
        seed=SETTINGS.root.preparation_seed,
    message:
        "{wildcards.scene}: give every object one ID over all views"
    script:
        "../workflow_scripts/tracking.py"


rule association:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        masks=masks_of,
        tracking=rules.tracking.output.tracking,
        core=core("association.py"),
    output:
        quality="<results>/{scene}/association/quality.json",
    log:
        "<results>/{scene}/logs/association.log",
    benchmark:
        "<results>/{scene}/benchmarks/association.tsv"
    conda:
        "../envs/masks.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    message:
        "{wildcards.scene}: score the association against the exact IDs"
    script:
        "../workflow_scripts/association.py"
