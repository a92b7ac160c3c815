def fetching(wildcards):
    """The step that fetches a data set."""
    return steps.fetching(CONFIG, wildcards.dataset)


rule fetch:
    # An earlier manifest stays until the new one replaces it: it holds the hashes that the files had before.
    output:
        update(paths.RAW),
    log:
        "logs/fetch/{dataset}.log",
    benchmark:
        "logs/benchmark/fetch/{dataset}.tsv"
    retries: 1
    threads: 1
    resources:
        runtime=600,
    params:
        identity=identity(fetching),
    message:
        "Fetching {wildcards.dataset}"
    shell:
        '"$HSISR_PYTHON" -m hsisr fetch {wildcards.dataset} --config "$HSISR_CONFIG" > {log} 2>&1'
