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
    threads: lambda wildcards, attempt: bench(wildcards).model(wildcards.model).training.threads or workflow.cores
    resources:
        gpu=1,
        mem_mb=8000,
        runtime=lambda wildcards, attempt: 1440 * attempt,
    params:
        settings=lambda wildcards: bench(wildcards).settings("train", wildcards.model, int(wildcards.seed)),
        code=code("hsisr/training/**/*.py", "hsisr/models/**/*.py", "hsisr/ops/*.py", "csrc/**/*", "hsisr/patches.py"),
    message:
        "Training {wildcards.model} on {wildcards.benchmark}, seed {wildcards.seed}"
    shell:
        "{HSISR} train {wildcards.benchmark} {wildcards.model} --seed {wildcards.seed} --config {CONFIG_FILE}"
        " 2>&1 | tee {log}"
