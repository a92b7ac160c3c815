def patch_sources(wildcards):
    """Pairs where the degradation is fixed; scenes where patches are degraded when they are read."""
    chosen = bench(wildcards)
    items = chosen.parts["train"]
    if chosen.rule.random_training:
        return sorted({chosen.scene_path(item) for item in items})
    return [chosen.path(paths.PAIR, item=item.name) for item in items]


rule patches:
    input:
        sources=patch_sources,
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
        code=code("hsisr/patches.py"),
    message:
        "Cutting training patches for {wildcards.benchmark}"
    shell:
        "{HSISR} patches {wildcards.benchmark} --config {CONFIG_FILE} > {log} 2>&1"
