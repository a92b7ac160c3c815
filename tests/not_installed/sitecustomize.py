"""Python runs this at its start. It hides packages that are looked for first, and then imported only if found."""

import sys

# comes with xarray; Snakemake loads all of it to plan jobs, although no rule of ours passes a table
sys.modules["pandas"] = None
