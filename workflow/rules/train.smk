from hsisr.pipeline import resources as estimates


def network(wildcards):
    """The model that a job trains."""
    return bench(wildcards).model(wildcards.model)


rule train:
    input:
        patches=paths.PATCHES,
        auxiliary=lambda wildcards: list(bench(wildcards).auxiliary_patches(wildcards.model).values()),
        validation=lambda wildcards: [
            bench(wildcards).path(paths.PAIR, item=item.name) for item in bench(wildcards).parts["validation"]
        ],
    # only finished files are declared: Snakemake deletes the outputs of a job that fails, and the state in
    # runs/.../state, from which the next try resumes, must stay
    output:
        weights=paths.WEIGHTS,
        summary=paths.TRAINING,
    log:
        "logs/train/{benchmark}/{model}/seed{seed}.log",
    benchmark:
        "logs/benchmark/train/{benchmark}/{model}/seed{seed}.tsv"
    threads: lambda wildcards, attempt: estimates.threads(network(wildcards), workflow)
    resources:
        gpu=lambda wildcards: estimates.gpus(network(wildcards)),
        mem_mb=lambda wildcards, attempt: estimates.memory_mb(bench(wildcards), network(wildcards), attempt),
        runtime=lambda wildcards, attempt: estimates.runtime_minutes(network(wildcards), attempt),
    params:
        settings=lambda wildcards: bench(wildcards).settings("train", wildcards.model, int(wildcards.seed)),
        code=code("hsisr/training/**/*.py", "hsisr/models/**/*.py", "hsisr/ops/*.py", "csrc/**/*", "hsisr/pipeline/*.py"),
    message:
        "Training {wildcards.model} on {wildcards.benchmark}, seed {wildcards.seed}"
    shell:
        # -i: Ctrl-C reaches tee too, which is to live as long as the trainer has something to say
        "{HSISR} train {wildcards.benchmark} {wildcards.model} --seed {wildcards.seed} --gpus {resources.gpu}"
        " --config {CONFIG_FILE} 2>&1 | tee -i {log}"
