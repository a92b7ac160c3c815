def cutting(part):
    """The step that cuts the patches of a part, as a function of wildcards."""
    return lambda wildcards: steps.cutting(bench(wildcards), part)


rule patches:
    input:
        unpack(inputs(cutting("train"))),
    output:
        paths.PATCHES,
    log:
        "logs/patches/{benchmark}.log",
    benchmark:
        "logs/benchmark/patches/{benchmark}.tsv"
    priority: 1
    threads: 1
    resources:
        mem_mb=4000,
    params:
        identity=identity(cutting("train")),
    message:
        "Cutting training patches for {wildcards.benchmark}"
    shell:
        '"$HSISR_PYTHON" -m hsisr patches {wildcards.benchmark} --config "$HSISR_CONFIG" > {log} 2>&1'


rule unlabelled:
    input:
        unpack(inputs(cutting("unlabelled"))),
    output:
        paths.UNLABELLED,
    log:
        "logs/unlabelled/{benchmark}.log",
    benchmark:
        "logs/benchmark/unlabelled/{benchmark}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        identity=identity(cutting("unlabelled")),
    message:
        "Cutting patches of LR-only scenes for {wildcards.benchmark}"
    shell:
        '"$HSISR_PYTHON" -m hsisr patches {wildcards.benchmark} --unlabelled --config "$HSISR_CONFIG" > {log} 2>&1'
