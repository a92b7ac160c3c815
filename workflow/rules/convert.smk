def conversion(wildcards):
    """The step that converts a scene."""
    return steps.conversion(CONFIG, wildcards.dataset)


def splitting(wildcards):
    """The step that splits a data set."""
    return steps.splitting(CONFIG, wildcards.dataset)


rule convert:
    input:
        unpack(inputs(conversion)),
    output:
        paths.SCENE,
    log:
        "logs/convert/{dataset}/{scene}.log",
    benchmark:
        "logs/benchmark/convert/{dataset}/{scene}.tsv"
    priority: 1
    threads: 1
    resources:
        mem_mb=2000,
    params:
        identity=identity(conversion),
    message:
        "Converting {wildcards.dataset} {wildcards.scene}"
    shell:
        '"$HSISR_PYTHON" -m hsisr convert {wildcards.dataset} {wildcards.scene} --config "$HSISR_CONFIG" > {log} 2>&1'


rule split:
    output:
        paths.SPLIT,
    log:
        "logs/split/{dataset}.log",
    benchmark:
        "logs/benchmark/split/{dataset}.tsv"
    threads: 1
    params:
        identity=identity(splitting),
    message:
        "Splitting {wildcards.dataset}"
    shell:
        '"$HSISR_PYTHON" -m hsisr split {wildcards.dataset} --config "$HSISR_CONFIG" > {log} 2>&1'
