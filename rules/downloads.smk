# Requires: the network, or files that were put in place by hand.
# Makes: <downloads>/checkpoints, the weights of the backends that the configuration chooses;
#        <downloads>/datasets, the published scenes that it names.
#
# These rules name no core modules: Snakemake removes the outputs of a job before it runs again, and
# a changed line of code must not cost gigabytes. For the same reason settings are not in `params`.

# For the script, whose environment has none of the backends.
config["_checkpoints"] = {
    name: asdict(entry) for name, entry in known_weights().items()
}

CHECKPOINT_FILES = [
    name for name, entry in known_weights().items() if entry.kind == "file"
]
CHECKPOINT_FOLDERS = [
    name for name, entry in known_weights().items() if entry.kind == "folder"
]


rule checkpoint:
    output:
        "<downloads>/checkpoints/{name}.pth",
    log:
        "<downloads>/logs/{name}.log",
    wildcard_constraints:
        name="|".join(CHECKPOINT_FILES),
    conda:
        "../envs/downloads.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=720,
    message:
        "Fetch the checkpoint {wildcards.name}"
    script:
        "../workflow_scripts/checkpoint.py"


rule checkpoint_folder:
    output:
        directory("<downloads>/checkpoints/{name}"),
    log:
        "<downloads>/logs/{name}.log",
    wildcard_constraints:
        name="|".join(CHECKPOINT_FOLDERS),
    conda:
        "../envs/downloads.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=720,
    message:
        "Fetch the checkpoint {wildcards.name}"
    script:
        "../workflow_scripts/checkpoint.py"


rule dataset:
    output:
        directory("<downloads>/datasets/{dataset}"),
    log:
        "<downloads>/logs/{dataset}.log",
    wildcard_constraints:
        dataset="|".join(datasets.FOLDERS),
    conda:
        "../envs/downloads.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=720,
    message:
        "Fetch the dataset {wildcards.dataset}"
    script:
        "../workflow_scripts/dataset.py"


# `snakemake --cores 1 downloads` fetches all that the configuration needs and runs nothing else, for
# machines whose compute nodes have no network.
rule downloads:
    input:
        downloads_of_all(),
