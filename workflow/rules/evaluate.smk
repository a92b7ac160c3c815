def trained(wildcards):
    """The finished runs of a network, one a seed; nothing for a classical method."""
    chosen = bench(wildcards)
    model = chosen.model(wildcards.model)
    if not model.is_network:
        return []
    return [
        chosen.trained_on.path(pattern, model=model.name, seed=seed)
        for seed in model.seeds
        for pattern in (paths.WEIGHTS, paths.TRAINING)
    ]


rule evaluate:
    input:
        runs=trained,
        pairs=lambda wildcards: [
            bench(wildcards).path(paths.PAIR, item=item.name) for item in bench(wildcards).parts["test"]
        ],
    output:
        scores=paths.SCORES,
        preview=paths.PREVIEW,
    log:
        "logs/evaluate/{benchmark}/{model}.log",
    benchmark:
        "logs/benchmark/evaluate/{benchmark}/{model}.tsv"
    threads: lambda wildcards, attempt: bench(wildcards).model(wildcards.model).training.threads or workflow.cores
    resources:
        gpu=lambda wildcards: int(bench(wildcards).model(wildcards.model).is_network),
        mem_mb=8000,
    params:
        settings=lambda wildcards: bench(wildcards).settings("evaluate", wildcards.model),
        code=code(
            "hsisr/evaluation/*.py",
            "hsisr/inference/*.py",
            "hsisr/metrics/*.py",
            "hsisr/models/**/*.py",
            "hsisr/ops/*.py",
            "csrc/**/*",
        ),
        command=lambda wildcards: command(paths.SCORES.format(**wildcards)),
    message:
        "Scoring {wildcards.model} on {wildcards.benchmark}"
    shell:
        "{HSISR} evaluate {wildcards.benchmark} {wildcards.model} --config {CONFIG_FILE} --command {params.command:q}"
        " > {log} 2>&1"


rule merge:
    input:
        lambda wildcards: [bench(wildcards).path(paths.SCORES, model=name) for name in bench(wildcards).models],
    output:
        paths.RESULTS,
    log:
        "logs/merge/{benchmark}.log",
    benchmark:
        "logs/benchmark/merge/{benchmark}.tsv"
    threads: 1
    params:
        settings=lambda wildcards: [bench(wildcards).settings("evaluate", name) for name in bench(wildcards).models],
        code=code("hsisr/evaluation/*.py"),
        command=lambda wildcards: command(paths.RESULTS.format(**wildcards)),
    message:
        "Merging the scores of {wildcards.benchmark}"
    shell:
        "{HSISR} merge {wildcards.benchmark} --config {CONFIG_FILE} --command {params.command:q} 2>&1 | tee {log}"
