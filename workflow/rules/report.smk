rule report:
    input:
        results=[paths.RESULTS.format(benchmark=name) for name in CONFIG.benchmarks],
        previews=[
            paths.PREVIEW.format(benchmark=name, model=model)
            for name in CONFIG.benchmarks
            for model in resolved(name).models
        ],
    output:
        paths.REPORT,
    log:
        "logs/report.log",
    benchmark:
        "logs/benchmark/report.tsv"
    threads: 1
    params:
        settings=CONFIG.report.model_dump(),
        code=code("hsisr/report/**/*"),
    message:
        "Writing the report"
    shell:
        "{HSISR} report --config {CONFIG_FILE} 2>&1 | tee {log}"
