REPORTING = steps.reporting(CONFIG, [resolved(name) for name in CONFIG.benchmarks])


rule report:
    input:
        **REPORTING.inputs,
    # the files that `snakemake --report` shows
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
        identity=REPORTING.digest,
    message:
        "Writing the report"
    shell:
        '"$HSISR_PYTHON" -m hsisr report --config "$HSISR_CONFIG" > {log} 2>&1'
