# Requires: what stages 1, 2 and 4 make of each scene.
# Makes: <results>/tables/branches.json, one line a run, and what each variant is worth as a table
#        and a plot. One job trains all variants of a scene and seed from what they share, and keeps
#        their scores alone. As separate runs their scores would be the same.


rule branches:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        tracking=rules.tracking.output.tracking,
        core=lambda w: study_core(
            "branches.py",
            {
                file
                for variant in SETTINGS.variants_of(w.scene)
                for file in SETTINGS.trainings[w.scene][variant].files
            },
        ),
    output:
        runs="<results>/{scene}/branches/seed{seed}.json",
    log:
        "<results>/{scene}/branches/logs/seed{seed}.log",
    benchmark:
        "<results>/{scene}/branches/benchmarks/seed{seed}.tsv"
    conda:
        "../envs/bench.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=1440,
        gpu=gradiseg.wants_gpu("train"),
    params:
        branches=lambda w: {
            name: SETTINGS.resolve(w.scene, "train", name)
            for name in SETTINGS.variants_of(w.scene)
        },
        render=gradiseg.settings_of("render"),
        grounding=gradiseg.settings_of("grounding"),
        metrics=gradiseg.settings_of("metrics"),
        finished=lambda w: str(
            Path(
                SETTINGS.root.results,
                w.scene,
                ".work",
                "branches",
                f"seed{w.seed}.jsonl",
            )
        ),
    message:
        "{wildcards.scene}: train and score all variants by branches, seed {wildcards.seed}"
    script:
        "../scripts/branches.py"


rule bench_branches:
    input:
        slices=[
            f"<results>/{scene}/branches/seed{seed}.json"
            for scene in SETTINGS.scenes
            for seed in SETTINGS.seeds_of(scene)
        ],
        core=study_core("collect_branches.py"),
    output:
        runs="<results>/tables/branches.json",
        table="<results>/tables/branches.md",
        plot="<results>/tables/branches.png",
    log:
        "<results>/tables/logs/branches.log",
    benchmark:
        "<results>/tables/benchmarks/branches.tsv"
    conda:
        "../../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        variants={
            name: variant.model_dump(mode="json", exclude_unset=True)
            for name, variant in SETTINGS.root.own_variants.items()
        },
        reference=SETTINGS.root.tables.reference_variant,
    message:
        "Scores of all slices of the study in one file"
    script:
        "../scripts/collect_branches.py"
