rule convert:
    input:
        paths.RAW,
    output:
        paths.SCENE,
    log:
        "logs/convert/{dataset}/{scene}.log",
    benchmark:
        "logs/benchmark/convert/{dataset}/{scene}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        dataset=lambda wildcards: CONFIG.datasets.get(wildcards.dataset),
        code=code("hsisr/scene.py", "hsisr/datasets/readers/*.py", "hsisr/datasets/conversion.py"),
    message:
        "Converting {wildcards.dataset} {wildcards.scene}"
    shell:
        "{HSISR} convert {wildcards.dataset} {wildcards.scene} --config {CONFIG_FILE} > {log} 2>&1"


rule split:
    output:
        paths.SPLIT,
    log:
        "logs/split/{dataset}.log",
    benchmark:
        "logs/benchmark/split/{dataset}.tsv"
    threads: 1
    params:
        scenes=lambda wildcards: CONFIG.scenes.get(wildcards.dataset),
        split=lambda wildcards: CONFIG.splits.get(wildcards.dataset),
        code=code("hsisr/datasets/splits.py", "hsisr/datasets/catalogue/*"),
    message:
        "Splitting {wildcards.dataset}"
    shell:
        "{HSISR} split {wildcards.dataset} --config {CONFIG_FILE} > {log} 2>&1"
