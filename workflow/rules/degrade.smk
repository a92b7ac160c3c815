def pairing(wildcards):
    """The step that degrades a scene or region."""
    return steps.pairing(bench(wildcards), wildcards.item)


rule pairs:
    input:
        unpack(inputs(pairing)),
    output:
        paths.PAIR,
    log:
        "logs/pairs/{benchmark}/{item}.log",
    benchmark:
        "logs/benchmark/pairs/{benchmark}/{item}.tsv"
    priority: 1
    threads: 1
    resources:
        mem_mb=2000,
    params:
        identity=identity(pairing),
    message:
        "Degrading {wildcards.item} for {wildcards.benchmark}"
    shell:
        '"$HSISR_PYTHON" -m hsisr pairs {wildcards.benchmark} {wildcards.item} --config "$HSISR_CONFIG" > {log} 2>&1'
