from hsisr.pipeline.predictions import say_lost_files


def predicting(wildcards):
    """The step that super-resolves a scene of the user's own."""
    return steps.predicting(CONFIG, wildcards.scene)


def parts(wildcards):
    """The files that mark finished parts of the prediction; none if a single job makes all."""
    told(predicting, wildcards)
    count = CONFIG.predict[wildcards.scene].parts
    numbers = range(1, count + 1) if count > 1 else ()
    return [paths.PREDICTION_PART.format(scene=wildcards.scene, part=number, parts=count) for number in numbers]


def words(joins):
    """The arguments of `hsisr predict` for a scene, without the output."""
    return lambda wildcards: shlex.join(CONFIG.predict[wildcards.scene].words(joins))


def own_gpu(wildcards):
    """The GPU of a network. A method without training needs none."""
    step = told(predicting, wildcards)
    return int(bool(step.inputs["model"] or step.data))  # data: weights that come with hsisr


if workflow.is_main_process:
    say_lost_files(CONFIG.predict)


rule predict_plan:
    input:
        unpack(inputs(predicting)),
    output:
        temp(touch(paths.PREDICTION_PLAN)),
    log:
        "logs/predict/{scene}-plan.log",
    threads: 1
    resources:
        gpu=own_gpu,
        mem_mb=4000,
    params:
        identity=identity(predicting),
        states=states(predicting),
        words=words(joins=False),
        out=paths.PREDICTION,
    message:
        "Planning the parts of {wildcards.scene}"
    shell:
        '"$HSISR_PYTHON" -m hsisr predict {params.words} --out {params.out} --part plan --overwrite'
        ' --config "$HSISR_CONFIG" > {log} 2>&1'


rule predict_part:
    input:
        unpack(inputs(predicting)),
        plan=paths.PREDICTION_PLAN,
    output:
        temp(touch(paths.PREDICTION_PART)),
    log:
        "logs/predict/{scene}-{part}-of-{parts}.log",
    benchmark:
        "logs/benchmark/predict/{scene}-{part}-of-{parts}.tsv"
    threads: 1
    resources:
        gpu=own_gpu,
        mem_mb=4000,
    params:
        identity=identity(predicting),
        states=states(predicting),
        words=words(joins=False),
        out=paths.PREDICTION,
    message:
        "Super-resolving part {wildcards.part} of {wildcards.parts} of {wildcards.scene}"
    shell:
        '"$HSISR_PYTHON" -m hsisr predict {params.words} --out {params.out} --part {wildcards.part}/{wildcards.parts}'
        ' --overwrite --config "$HSISR_CONFIG" > {log} 2>&1'


rule predict:
    input:
        unpack(inputs(predicting)),
        parts=parts,
    output:
        paths.PREDICTION,
    log:
        "logs/predict/{scene}.log",
    benchmark:
        "logs/benchmark/predict/{scene}.tsv"
    threads: workflow.cores
    resources:
        gpu=own_gpu,
        mem_mb=4000,
    params:
        identity=identity(predicting),
        states=states(predicting),
        words=words(joins=True),
    message:
        "Super-resolving {wildcards.scene}"
    shell:
        '"$HSISR_PYTHON" -m hsisr predict {params.words} --out {output} --overwrite --config "$HSISR_CONFIG" > {log} 2>&1'
