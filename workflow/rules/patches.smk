def patch_sources(part):
    """Pairs where patches are cut beforehand; scenes where crops are drawn and degraded when they are read."""

    def sources(wildcards):
        chosen = bench(wildcards)
        items = chosen.parts[part]
        if chosen.draws_crops:
            return sorted({chosen.scene_path(item) for item in items})
        return [chosen.path(paths.PAIR, item=item.name) for item in items]

    return sources


rule patches:
    input:
        sources=patch_sources("train"),
        split=lambda wildcards: bench(wildcards).path(paths.SPLIT),
    output:
        paths.PATCHES,
    log:
        "logs/patches/{benchmark}.log",
    benchmark:
        "logs/benchmark/patches/{benchmark}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        settings=lambda wildcards: bench(wildcards).settings("patches"),
        code=code("hsisr/pipeline/*.py"),
    message:
        "Cutting training patches for {wildcards.benchmark}"
    shell:
        "{HSISR} patches {wildcards.benchmark} --config {CONFIG_FILE} > {log} 2>&1"


rule unlabelled:
    input:
        sources=patch_sources("unlabelled"),
        split=lambda wildcards: bench(wildcards).path(paths.SPLIT),
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
        settings=lambda wildcards: bench(wildcards).settings("patches"),
        code=code("hsisr/pipeline/*.py"),
    message:
        "Cutting patches of LR-only scenes for {wildcards.benchmark}"
    shell:
        "{HSISR} patches {wildcards.benchmark} --unlabelled --config {CONFIG_FILE} > {log} 2>&1"
