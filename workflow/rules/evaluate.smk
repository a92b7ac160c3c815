def finished_runs(wildcards, name):
    """The finished runs of a network, one a seed; nothing for a classical method."""
    chosen = bench(wildcards)
    model = chosen.model(name)
    if not model.is_network:
        return []
    return [
        chosen.trained_on.path(pattern, model=model.name, seed=seed)
        for seed in model.seeds
        for pattern in (paths.WEIGHTS, paths.TRAINING)
    ]


def test_pairs(wildcards):
    """The pairs of the test part."""
    return [bench(wildcards).path(paths.PAIR, item=item.name) for item in bench(wildcards).parts["test"]]


def every_model(wildcards):
    """The settings of all models of a benchmark."""
    return [bench(wildcards).settings("evaluate", name) for name in bench(wildcards).models]


rule evaluate:
    input:
        runs=lambda wildcards: finished_runs(wildcards, wildcards.model),
        pairs=test_pairs,
    output:
        scores=paths.SCORES,
        preview=paths.PREVIEW,
    log:
        "logs/evaluate/{benchmark}/{model}.log",
    benchmark:
        "logs/benchmark/evaluate/{benchmark}/{model}.tsv"
    threads: lambda wildcards, attempt: estimates.threads(bench(wildcards).model(wildcards.model), workflow)
    resources:
        gpu=lambda wildcards: estimates.scoring_gpus([network(wildcards)]),
        mem_mb=8000,
    params:
        settings=lambda wildcards: bench(wildcards).settings("evaluate", wildcards.model),
        code=code("hsisr/evaluation/*.py", "hsisr/metrics/**/*.py", *INFERENCE),
        command=lambda wildcards: command(paths.SCORES.format(**wildcards)),
    message:
        "Scoring {wildcards.model} on {wildcards.benchmark}"
    shell:
        "{HSISR} evaluate {wildcards.benchmark} {wildcards.model} --config {CONFIG_FILE} --command {params.command:q}"
        " > {log} 2>&1"


rule runtime:
    input:
        runs=lambda wildcards: [path for name in bench(wildcards).models for path in finished_runs(wildcards, name)],
        pair=lambda wildcards: bench(wildcards).path(paths.PAIR, item=bench(wildcards).parts["test"][0].name),
    output:
        paths.RUNTIME,
    log:
        "logs/runtime/{benchmark}.log",
    benchmark:
        "logs/benchmark/runtime/{benchmark}.tsv"
    # all there are, so that nothing else runs while time is taken
    threads: workflow.cores
    resources:
        gpu=lambda wildcards: estimates.scoring_gpus(bench(wildcards).models.values()),
        mem_mb=8000,
    params:
        settings=every_model,
        code=code("hsisr/evaluation/**/*.py", "hsisr/evaluation/steps.py", *INFERENCE),
        command=lambda wildcards: command(paths.RUNTIME.format(**wildcards)),
    message:
        "Measuring what the models of {wildcards.benchmark} cost"
    shell:
        "{HSISR} runtime {wildcards.benchmark} --config {CONFIG_FILE} --command {params.command:q} > {log} 2>&1"


rule classify:
    input:
        pairs=test_pairs,
        previews=lambda wildcards: [
            bench(wildcards).path(paths.PREVIEW, model=name) for name in bench(wildcards).models
        ],
    output:
        paths.CLASSIFICATION,
    log:
        "logs/classify/{benchmark}.log",
    benchmark:
        "logs/benchmark/classify/{benchmark}.tsv"
    threads: workflow.cores
    resources:
        mem_mb=4000,
    params:
        settings=every_model,
        code=code("hsisr/evaluation/**/*.py", "hsisr/evaluation/steps.py"),
        command=lambda wildcards: command(paths.CLASSIFICATION.format(**wildcards)),
    message:
        "Classifying land cover in the results of {wildcards.benchmark}"
    shell:
        "{HSISR} classify {wildcards.benchmark} --config {CONFIG_FILE} --command {params.command:q} > {log} 2>&1"


def comparisons(wildcards):
    """What is measured of all models of a benchmark at once."""
    chosen = bench(wildcards)
    measured = [(chosen.measures_runtime, paths.RUNTIME), (chosen.classifies, paths.CLASSIFICATION)]
    return [chosen.path(pattern) for wanted, pattern in measured if wanted]


rule merge:
    input:
        scores=lambda wildcards: [bench(wildcards).path(paths.SCORES, model=name) for name in bench(wildcards).models],
        comparisons=comparisons,
    output:
        paths.RESULTS,
    log:
        "logs/merge/{benchmark}.log",
    benchmark:
        "logs/benchmark/merge/{benchmark}.tsv"
    threads: 1
    params:
        settings=every_model,
        code=code("hsisr/evaluation/*.py"),
        command=lambda wildcards: command(paths.RESULTS.format(**wildcards)),
    message:
        "Merging the scores of {wildcards.benchmark}"
    shell:
        "{HSISR} merge {wildcards.benchmark} --config {CONFIG_FILE} --command {params.command:q} 2>&1 | tee {log}"
