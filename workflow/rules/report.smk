rule report:
    input:
        results=[paths.RESULTS.format(benchmark=name) for name in CONFIG.benchmarks],
        previews=[
            paths.PREVIEW.format(benchmark=name, model=model)
            for name in CONFIG.benchmarks
            for model in resolved(name).models
        ],
    # what `snakemake --report` shows
    output:
        page=report(paths.REPORT, caption="../report/page.rst", category="Report"),
        scores=report(paths.SCORES_CSV, caption="../report/scores.rst", category="Report"),
        figures=report(
            directory(paths.FIGURES),
            patterns=["{benchmark}/{figure}.svg", "{benchmark}/{figure}.png"],
            caption="../report/figure.rst",
            category="Figures",
            subcategory="{benchmark}",
        ),
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
