# Requires: undistorted photographs, cameras, sparse points and ID maps; the surface, if a loss term
# reads it.
# Makes: <run>/train, Gaussians with identities, the classifier, logs.
#
# Checkpoints are no outputs: Snakemake deletes the outputs of a job that failed, and a killed run
# must be able to resume. The results are not `protected`: Snakemake refuses to rerun a job with
# write-protected outputs, even if its inputs changed or `--forcerun train` asks for it.


rule train:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        tracking=rules.tracking.output.tracking,
        geometry=geometry_of("train"),
        given=given("train"),
        core=core_of("train.py", "train"),
    output:
        train=directory("<run>/train"),
    log:
        "<run>/logs/train.log",
    benchmark:
        "<run>/benchmarks/train.tsv"
    conda:
        by_device("train", default="../envs/train.yaml", cuda="../envs/train_cuda.yaml")
    threads: training_threads
    resources:
        mem_mb=8000,
        runtime=1440,
        gpu=wants_gpu("train"),
    params:
        given_otherwise=given_otherwise("train"),
        config=settings_of("train"),
        checkpoints=work("checkpoints"),
    message:
        "{wildcards.scene}: train {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../workflow_scripts/train.py"
