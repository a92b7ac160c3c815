"""The words after `snakemake`: which of them are targets that an option has swallowed, and whether cores are named."""

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

#: Where Snakemake looks for a workflow, in this order.
_SNAKEFILES = ("Snakefile", "snakefile", "workflow/Snakefile", "workflow/snakefile")

#: Folders that the pipeline writes: nothing in them is a configuration.
_MADE = ("data", "runs", "results", "logs", "predictions")

#: Short options without a value, behind which `j` may stand in one word.
_FLAGS = "ntkfFaplSD"


def _pair(word: str) -> bool:
    return re.match(r"[A-Za-z_][\w-]*=", word) is not None


def _pair_of_rule(word: str) -> bool:
    return re.match(r"[A-Za-z_]\w*:[A-Za-z_]\w*=", word) is not None


def _file(word: str) -> bool:
    path = Path(word)
    if not path.is_absolute() and path.parts[:1] and path.parts[0] in _MADE:
        return False
    return path.suffix in (".yaml", ".yml") or path.is_file()


def _quietness(word: str) -> bool:
    from snakemake.settings.enums import Quietness

    return word in Quietness.choices()


def _trigger(word: str) -> bool:
    from snakemake.settings.enums import RerunTrigger

    return word in RerunTrigger.choices()


#: Option that takes all the words up to the next option -> whether a word can be one of them.
_TAKES: dict[str, Callable[[str], bool]] = {
    **dict.fromkeys(("--resources", "--res", "--default-resources", "--default-res"), _pair),
    **dict.fromkeys(("--set-threads", "--set-scatter", "--set-resource-scopes", "--consider-ancient"), _pair),
    **dict.fromkeys(("--config", "-C", "--groups", "--group-components"), _pair),
    "--set-resources": _pair_of_rule,
    **dict.fromkeys(("--configfile", "--configfiles"), _file),
    **dict.fromkeys(("--quiet", "-q"), _quietness),
    "--rerun-triggers": _trigger,
}

#: Those of them that need no word at all.
_NONE_IS_ENOUGH = ("--default-resources", "--default-res", "--config", "-C", "--quiet", "-q")


def move_swallowed_targets(argv: Sequence[str]) -> list[str]:
    """Move targets that an option has swallowed to the front of Snakemake's command line.

    Snakemake's option `--resources` takes every word up to the next option, so that in

        snakemake --cores 8 --resources gpu=1 all

    it takes `all` for a resource, and Snakemake ends with "ValueError: dictionary update sequence element #1 has length
    1". A word that cannot be what the option takes (no `=` after --resources, --config and their kind, no file after
    --configfile, no topic after --quiet) can only be a target, and the same line with it in front is what was meant.

    argv: program and words, as in sys.argv. Returns them; the same words in the same order
    * unless the program is snakemake and the Snakefile that it would read names hsisr,
    * where Snakemake would accept the line: none of its options takes a word of the kind that is moved,
    * for child processes of Snakemake (`--mode`), whose values may be coded (`base64//...`),
    * behind `--`, and where the option would be left without a word that it needs.
    """
    argv = list(argv)
    program, words = argv[:1], argv[1:]
    if not program or not _is_snakemake(program[0]) or "--mode" in words or not _is_ours(_snakefile(words)):
        return argv
    end = words.index("--") if "--" in words else len(words)
    kept: list[str] = []
    moved: list[str] = []
    option = ""
    for word in words[:end]:
        fits = _TAKES.get(option)
        if word.startswith("-") and word != "-":
            option = word
        elif fits and not (word.startswith("base64//") or fits(word)):
            if kept[-1] != option or option in _NONE_IS_ENOUGH:
                moved.append(word)
                continue
            option = ""  # its first word is wrong, and it needs one: Snakemake says so
        kept.append(word)
    return [*program, *moved, *kept, *words[end:]]


def default_cores(argv: Sequence[str] | None = None) -> str | None:
    """Value of `cores` in a profile: "all", or None where the command line says `--jobs`, `-j`.

    For a run on this machine `--jobs` is another name of `--cores`, and loses to it: with `cores: all` in the profile
    `snakemake -j 1` would take all cores. argv: program and words; None: those of this process.
    """
    jobs = re.compile(rf"--jobs(=|$)|-[{_FLAGS}]*j")
    words = list(sys.argv if argv is None else argv)[1:]
    return None if any(jobs.match(word) for word in words) else "all"


def _is_snakemake(program: str) -> bool:
    path = Path(program)
    return path.stem == "snakemake" or (path.name == "__main__.py" and path.parent.name == "snakemake")


def _snakefile(words: Sequence[str]) -> Path | None:
    """The workflow that Snakemake would read; None if there is none."""
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word in ("-s", "--snakefile"):
            return Path(following)
        if word.startswith("--snakefile="):
            return Path(word.partition("=")[2])
        if word.startswith("-s"):
            return Path(word[2:].removeprefix("="))
    return next((Path(name) for name in _SNAKEFILES if Path(name).is_file()), None)


def _is_ours(snakefile: Path | None) -> bool:
    """Whether a workflow includes or loads that of hsisr."""
    if snakefile is None:
        return False
    try:
        text = snakefile.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return re.search(r"\bhsisr\b", text) is not None
