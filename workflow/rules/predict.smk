def own_scene(wildcards):
    """What the configuration says of a scene of the user's own."""
    if wildcards.scene not in CONFIG.predict:
        known = ", ".join(CONFIG.predict) or "none"
        fail(HsisrError(f"predict: no scene {wildcards.scene!r}; config.yaml names {known}"))
    return CONFIG.predict[wildcards.scene]


def own_model(wildcards):
    """The model file of a scene, which rule train may make; nothing for an untrained method."""
    model = Path(own_scene(wildcards).model)
    if str(model) in registry.names():
        return []
    return model if model.suffix == ".safetensors" else model / "model.safetensors"


rule predict:
    input:
        lr=lambda wildcards: own_scene(wildcards).lr,
        guide=lambda wildcards: own_scene(wildcards).guide or [],
        model=own_model,
    output:
        paths.PREDICTION,
    log:
        "logs/predict/{scene}.log",
    benchmark:
        "logs/benchmark/predict/{scene}.tsv"
    threads: workflow.cores
    resources:
        gpu=lambda wildcards: int(bool(own_model(wildcards))),
        mem_mb=4000,
    params:
        words=lambda wildcards: shlex.join(own_scene(wildcards).words()),
        code=code(*INFERENCE),
    message:
        "Super-resolving {wildcards.scene}"
    shell:
        "{HSISR} predict {params.words} --out {output} --overwrite 2>&1 | tee {log}"
