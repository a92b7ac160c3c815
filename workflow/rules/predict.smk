def predicting(wildcards):
    """The step that super-resolves a scene of the user's own."""
    return steps.predicting(CONFIG, wildcards.scene)


rule predict:
    input:
        unpack(inputs(predicting)),
    output:
        paths.PREDICTION,
    log:
        "logs/predict/{scene}.log",
    benchmark:
        "logs/benchmark/predict/{scene}.tsv"
    threads: workflow.cores
    resources:
        gpu=lambda wildcards: int(bool(told(predicting, wildcards).inputs["model"])),
        mem_mb=4000,
    params:
        identity=identity(predicting),
        unnamed=unnamed(predicting),
        words=lambda wildcards: shlex.join(CONFIG.predict[wildcards.scene].words()),
    message:
        "Super-resolving {wildcards.scene}"
    shell:
        '"$HSISR_PYTHON" -m hsisr predict {params.words} --out {output} --overwrite --config "$HSISR_CONFIG" > {log} 2>&1'
