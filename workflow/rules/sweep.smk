def sweeping(wildcards):
    """The step that runs models over a grid of degradations."""
    return steps.sweeping(steps.configured_sweep(CONFIG, wildcards.sweep))


rule sweep:
    input:
        unpack(inputs(sweeping)),
    output:
        result=paths.SWEEP,
        map=paths.SWEEP_MAP,
    log:
        "logs/sweep/{sweep}.log",
    benchmark:
        "logs/benchmark/sweep/{sweep}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        identity=identity(sweeping),
        states=states(sweeping),
    message:
        "Sweeping {wildcards.sweep} over its grid of degradations"
    shell:
        '"$HSISR_PYTHON" -m hsisr sweep {wildcards.sweep} --config "$HSISR_CONFIG" > {log} 2>&1'
