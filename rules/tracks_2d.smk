# Requires: undistorted photographs and cameras; the checkpoints that the backends need.
# Makes: <results>/{scene}/tracks_2d, the method in 2D of `baseline_2d: true` (the row DEVA of the
#        paper's Table 1): segments and tracks of all views, prompts on them, and their scores.


# Runs after `masks` (`first`) in the same work folder, so that only test views are left to segment.
use rule masks as masks_2d with:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        given=given("masks"),
        weights=weights_of("masks"),
        first=masks_of,
        core=core_of("masks.py", "masks"),
    output:
        masks=directory("<results>/{scene}/tracks_2d/masks"),
    log:
        "<results>/{scene}/tracks_2d/logs/masks.log",
    benchmark:
        "<results>/{scene}/tracks_2d/benchmarks/masks.tsv"
    params:
        given_otherwise=given_otherwise("masks"),
        config=settings_of("masks"),
        work=work("masks"),
        split="all",
    message:
        "{wildcards.scene}: segment every view, test views included"


use rule tracking as tracking_2d with:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        geometry=geometry_of("tracking_2d"),
        masks=masks_of_all_views,
        given=given("tracking_2d"),
        weights=weights_of("tracking_2d"),
        core=core_of("tracking.py", "tracking_2d"),
    output:
        tracking=directory("<results>/{scene}/tracks_2d/tracking"),
    log:
        "<results>/{scene}/tracks_2d/logs/tracking.log",
    benchmark:
        "<results>/{scene}/tracks_2d/benchmarks/tracking.tsv"
    conda:
        environment_of("tracking_2d")
    resources:
        mem_mb=memory_of("tracking_2d"),
        runtime=runtime_of("tracking_2d"),
        gpu=wants_gpu("tracking_2d"),
    params:
        given_otherwise=given_otherwise("tracking_2d"),
        config=settings_of("tracking_2d"),
        instead_of_geometry=instead_of_geometry("tracking_2d"),
        max_ids=65536,
        seed=SETTINGS.root.preparation_seed,
        split="all",
    message:
        "{wildcards.scene}: give every object one ID over all views, test views included"


rule grounding_2d:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        tracking=rules.tracking_2d.output.tracking,
        weights=weights_of("grounding"),
        core=core_of("grounding_2d.py", "grounding"),
    output:
        grounding=report(
            directory("<results>/{scene}/tracks_2d/grounding"),
            patterns=["pictures/{prompt}.png"],
            caption="../report/grounding.rst",
            category="Prompts",
            subcategory="{scene}",
            labels={"variant": "tracks in 2D", "seed": "", "prompt": "{prompt}"},
        ),
    log:
        "<results>/{scene}/tracks_2d/logs/grounding.log",
    benchmark:
        "<results>/{scene}/tracks_2d/benchmarks/grounding.tsv"
    conda:
        environment_of("grounding")
    threads: 1
    resources:
        mem_mb=memory_of("grounding"),
        runtime=60,
        gpu=wants_gpu("grounding"),
    params:
        config=settings_of("grounding"),
    message:
        "{wildcards.scene}: find the prompts in the tracked masks of the test views"
    script:
        "../workflow_scripts/grounding_2d.py"


rule metrics_2d:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        tracking=rules.tracking_2d.output.tracking,
        grounding=rules.grounding_2d.output.grounding,
        core=core("metrics_2d.py"),
    output:
        metrics="<results>/{scene}/tracks_2d/metrics/metrics.json",
        per_view=report(
            "<results>/{scene}/tracks_2d/metrics/per_view.csv",
            caption="../report/per_view_2d.rst",
            category="Scores",
            subcategory="{scene}",
            labels={"variant": "tracks in 2D", "seed": ""},
        ),
    log:
        "<results>/{scene}/tracks_2d/logs/metrics.log",
    benchmark:
        "<results>/{scene}/tracks_2d/benchmarks/metrics.tsv"
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        config=settings_of("metrics"),
    message:
        "{wildcards.scene}: score the tracked masks of the test views"
    script:
        "../workflow_scripts/metrics_2d.py"
