rule pairs:
    input:
        scene=lambda wildcards: bench(wildcards).scene_path(bench(wildcards).item(wildcards.item)),
        split=lambda wildcards: bench(wildcards).path(paths.SPLIT),
    output:
        paths.PAIR,
    log:
        "logs/pairs/{benchmark}/{item}.log",
    benchmark:
        "logs/benchmark/pairs/{benchmark}/{item}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        settings=lambda wildcards: bench(wildcards).settings("pairs"),
        code=code("hsisr/pipeline/*.py", "hsisr/degrade/**/*"),
    message:
        "Degrading {wildcards.item} for {wildcards.benchmark}"
    shell:
        "{HSISR} pairs {wildcards.benchmark} {wildcards.item} --config {CONFIG_FILE} > {log} 2>&1"
