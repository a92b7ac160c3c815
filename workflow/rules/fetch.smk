rule fetch:
    output:
        paths.RAW,
    log:
        "logs/fetch/{dataset}.log",
    benchmark:
        "logs/benchmark/fetch/{dataset}.tsv"
    retries: 1
    threads: 1
    resources:
        runtime=600,
    params:
        source=lambda wildcards: CONFIG.sources.get(wildcards.dataset),
        code=code("hsisr/datasets/fetching.py", "hsisr/datasets/manifest.py"),
    message:
        "Fetching {wildcards.dataset}"
    shell:
        "{HSISR} fetch {wildcards.dataset} --config {CONFIG_FILE} 2>&1 | tee {log}"
