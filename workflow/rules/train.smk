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
    # only finished files are declared: Snakemake deletes the outputs of a job that fails, and the state in
    # runs/.../state, from which the next try resumes, must stay
    output:
        weights=paths.WEIGHTS,
        summary=paths.TRAINING,
    log:
        "logs/train/{benchmark}/{model}/seed{seed}.log",
    benchmark:
        "logs/benchmark/train/{benchmark}/{model}/seed{seed}.tsv"
    # what takes longest begins first, and before it what it needs
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
