def scoring(wildcards):
    """The step that scores one model."""
    return steps.scoring(bench(wildcards), wildcards.model)


def costing(wildcards):
    """The step that measures the costs of the models."""
    return steps.costing(bench(wildcards))


def classifying(wildcards):
    """The step that classifies land cover in the models' results."""
    return steps.classifying(bench(wildcards))


def merging(wildcards):
    """The step that gathers the scores of a benchmark."""
    return steps.merging(bench(wildcards))


rule evaluate:
    input:
        unpack(inputs(scoring)),
    output:
        scores=paths.SCORES,
        preview=paths.PREVIEW,
    log:
        "logs/evaluate/{benchmark}/{model}.log",
    benchmark:
        "logs/benchmark/evaluate/{benchmark}/{model}.tsv"
    threads: lambda wildcards: estimates.scoring_threads(network(wildcards), workflow)
    resources:
        gpu=lambda wildcards: estimates.scoring_gpus([network(wildcards)]),
        mem_mb=8000,
    params:
        identity=identity(scoring),
    message:
        "Scoring {wildcards.model} on {wildcards.benchmark}"
    shell:
        '"$HSISR_PYTHON" -m hsisr evaluate {wildcards.benchmark} {wildcards.model} --config "$HSISR_CONFIG" --given="$HSISR_GIVEN"'
        " > {log} 2>&1"


rule runtime:
    input:
        unpack(inputs(costing)),
    output:
        paths.RUNTIME,
    log:
        "logs/runtime/{benchmark}.log",
    benchmark:
        "logs/benchmark/runtime/{benchmark}.tsv"
    # all cores, so that nothing else runs during the measurement
    threads: workflow.cores
    resources:
        gpu=lambda wildcards: estimates.scoring_gpus(bench(wildcards).models.values()),
        mem_mb=8000,
    params:
        identity=identity(costing),
    message:
        "Measuring what the models of {wildcards.benchmark} cost"
    shell:
        '"$HSISR_PYTHON" -m hsisr runtime {wildcards.benchmark} --config "$HSISR_CONFIG" --given="$HSISR_GIVEN" > {log} 2>&1'


rule classify:
    input:
        unpack(inputs(classifying)),
    output:
        paths.CLASSIFICATION,
    log:
        "logs/classify/{benchmark}.log",
    benchmark:
        "logs/benchmark/classify/{benchmark}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        identity=identity(classifying),
    message:
        "Classifying land cover in the results of {wildcards.benchmark}"
    shell:
        '"$HSISR_PYTHON" -m hsisr classify {wildcards.benchmark} --config "$HSISR_CONFIG" --given="$HSISR_GIVEN" > {log} 2>&1'


rule merge:
    input:
        unpack(inputs(merging)),
    output:
        paths.RESULTS,
    log:
        "logs/merge/{benchmark}.log",
    benchmark:
        "logs/benchmark/merge/{benchmark}.tsv"
    threads: 1
    params:
        identity=identity(merging),
    message:
        "Merging the scores of {wildcards.benchmark}"
    shell:
        '"$HSISR_PYTHON" -m hsisr merge {wildcards.benchmark} --config "$HSISR_CONFIG" --given="$HSISR_GIVEN" > {log} 2>&1'
