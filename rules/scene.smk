# Requires: the photographs that the configuration names, a published scene that is downloaded,
#           resources/demo, or another scene that is copied.
# Makes: <results>/{scene}/scene, all views in one layout, their split, prompts and annotations.


rule scene:
    input:
        given=given("scene"),
        dataset=dataset_of,
        copied=copied,
        core=core_of("scene.py", "scene"),
    output:
        scene=directory("<results>/{scene}/scene"),
    log:
        "<results>/{scene}/logs/scene.log",
    benchmark:
        "<results>/{scene}/benchmarks/scene.tsv"
    conda:
        "../envs/scene.yaml"
    threads: 8
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        given_otherwise=given_otherwise("scene"),
        config=settings_of("scene"),
    message:
        "{wildcards.scene}: bring the photographs into one layout"
    script:
        "../workflow_scripts/scene.py"
