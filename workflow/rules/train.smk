from hsisr.pipeline import resources as estimates


def network(wildcards):
    """The model that a job trains."""
    return bench(wildcards).model(wildcards.model)


def training(wildcards):
    """The step that trains a network with one seed."""
    return steps.training(bench(wildcards), wildcards.model, int(wildcards.seed))


rule train:
    input:
        unpack(inputs(training)),
    # Only finished files are declared as outputs. Snakemake deletes the outputs of a failed job, but the state in
    # runs/.../state must stay, because the next try resumes from it.
    output:
        weights=paths.WEIGHTS,
        summary=paths.TRAINING,
    log:
        "logs/train/{benchmark}/{model}/seed{seed}.log",
    benchmark:
        "logs/benchmark/train/{benchmark}/{model}/seed{seed}.tsv"
    # Training takes longest, so it and its inputs begin first.
    priority: 2
    threads: lambda wildcards, attempt: estimates.threads(network(wildcards), workflow)
    resources:
        gpu=lambda wildcards: estimates.gpus(network(wildcards)),
        mem_mb=lambda wildcards, attempt: estimates.memory_mb(bench(wildcards), network(wildcards), attempt),
        runtime=lambda wildcards, attempt: estimates.runtime_minutes(network(wildcards), attempt),
    params:
        identity=identity(training),
    message:
        "Training {wildcards.model} on {wildcards.benchmark}, seed {wildcards.seed}"
    shell:
        '"$HSISR_PYTHON" -m hsisr train {wildcards.benchmark} {wildcards.model} --seed {wildcards.seed} --gpus {resources.gpu}'
        ' --config "$HSISR_CONFIG" > {log} 2>&1'
