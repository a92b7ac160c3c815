"""hsisr: from raw hyperspectral scenes to trained super-resolution models, scores and a report.

    snakemake --cores 8                          all benchmarks of config.yaml, and the report
    snakemake results/cave_x8.json --cores 8     one benchmark
    snakemake -n                                 what would run

Write targets before options: `--resources gpu=1 all` takes `all` for a resource.
"""

from snakemake.utils import min_version

min_version("9.18")


configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/convert.smk"
include: "workflow/rules/degrade.smk"
include: "workflow/rules/patches.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/predict.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        [paths.RESULTS.format(benchmark=name) for name in CONFIG.benchmarks],
        [paths.PREDICTION.format(scene=name) for name in CONFIG.predict],
        paths.REPORT,
