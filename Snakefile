"""hsisr: from raw hyperspectral scenes to trained super-resolution models, scores and a report.

snakemake --cores 8                          all benchmarks of config.yaml, and the report
snakemake --cores 8 --resources gpu=1 all    the same, one job at a time on the GPU
snakemake results/cave_x8.json --cores 8     one benchmark
snakemake -n                                 what would run
"""


include: "workflow/Snakefile"


workflow.default_target = "all"  # Snakemake ignores the default target of an included file
