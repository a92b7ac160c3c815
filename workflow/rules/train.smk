from hsisr.pipeline import resources as estimates


def network(wildcards):
    """The model that a job trains."""
    return bench(wildcards).model(wildcards.model)


def learnt_from(wildcards):
    """What a network is trained on and validated by; of weights that exist, the file and a pair that they are for."""
    chosen, model = bench(wildcards), network(wildcards)
    if model.weights is not None:
        return [model.weights, chosen.path(paths.PAIR, item=chosen.parts["test"][0].name)]
    validation = [chosen.path(paths.PAIR, item=item.name) for item in chosen.parts["validation"]]
    return [chosen.path(paths.PATCHES), *chosen.auxiliary_patches(model.name).values(), *validation]


rule train:
    input:
        learnt_from,
    # only finished files are declared: Snakemake deletes the outputs of a job that fails, and the state in
    # runs/.../state, from which the next try resumes, must stay
    output:
        weights=paths.WEIGHTS,
        summary=paths.TRAINING,
    log:
        "logs/train/{benchmark}/{model}/seed{seed}.log",
    benchmark:
        "logs/benchmark/train/{benchmark}/{model}/seed{seed}.tsv"
    threads: lambda wildcards, attempt: network(wildcards).training.threads or workflow.cores
    resources:
        gpu=lambda wildcards: estimates.gpus(network(wildcards)),
        nodes=lambda wildcards: network(wildcards).training.nodes,
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
