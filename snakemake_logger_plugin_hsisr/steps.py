"""What a run has done, does and has left: the state behind the screen, without any output.

One thread changes it, another may look at it; the latter looks at copies.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os.path import commonprefix
from pathlib import Path

#: A rule with more jobs than this gets one line for all of them; a job that takes long gets its own.
_MANY_JOBS = 2
_LONG_SECONDS = 30.0

#: Rules whose jobs take as long as their settings say, so that those of other rules tell nothing of them.
_LONG_RULES = ("train",)

#: Beginnings of lines of a job's log that are worth a line on the screen, and how many of them at most.
_NOTES = ("hsisr: ", "training: resumes")
_MOST_NOTES = 3

_ERROR, _WARNING = "hsisr: error: ", "hsisr: warning: "

#: Bytes of a log, from its end, that are looked at.
_LOG_BYTES = 1 << 20


@dataclass
class Job:
    """A job that has been started.

    name: what it does, in words. log: its log files. started: time in seconds. shown: False for the target rule, which
    only collects files.
    """

    rule: str
    name: str
    log: Sequence[str]
    started: float
    shown: bool = True


class Steps:
    """The jobs of a run. Times are seconds since 1970."""

    def __init__(self) -> None:
        self.planned: Counter[str] = Counter()
        self.running: dict[int, Job] = {}
        self.failed: dict[int, Job] = {}
        self.done = 0
        self.begun = math.inf
        self._seconds: defaultdict[str, list[float]] = defaultdict(list)
        self._gathered: defaultdict[str, list[str]] = defaultdict(list)
        self._said: set[str] = set()

    def plan(self, jobs: Mapping[str, int], now: float) -> None:
        """Take in what will run. jobs: rule -> number."""
        self.planned = Counter({rule: count for rule, count in jobs.items() if rule not in ("total", "all")})
        self.begun = now

    def start(self, identity: int, job: Job) -> None:
        """A job begins, perhaps for another time."""
        self.running[identity] = job
        self.failed.pop(identity, None)

    def finish(self, identity: int, now: float) -> Iterator[str]:
        """A job is done; yields the lines that say so."""
        job = self.running.pop(identity, None)
        if job is None or not job.shown:
            return
        self.done += 1
        seconds = now - job.started
        self._seconds[job.rule].append(seconds)
        notes = [note for note in _notes(job) if note not in self._said]
        self._said.update(note for note in notes if note.startswith(_WARNING))  # many jobs may give the same
        count = self.planned[job.rule]
        if count <= _MANY_JOBS or seconds > _LONG_SECONDS or notes:
            yield self._line(job.name, now, seconds)
            yield from (f"    {note}" for note in notes)
        else:
            self._gathered[job.rule].append(job.name)
        if len(self._seconds[job.rule]) == count:
            yield from self._together(job.rule, now)

    def fail(self, identity: int, job: Job) -> None:
        """A job has failed. job: what is known of it if its beginning was not seen."""
        self.failed[identity] = self.running.pop(identity, job)

    def rest(self, now: float) -> Iterator[str]:
        """The lines that are still to be said at the end."""
        for rule in list(self._gathered):
            yield from self._together(rule, now)

    @property
    def total(self) -> int:
        """Steps of the run."""
        return max(self.planned.total(), self.done)

    def elapsed(self, now: float) -> float:
        """Seconds since the run began."""
        return max(0.0, now - self.begun) if self.planned else 0.0

    def left(self, now: float) -> float | None:
        """Seconds that the rest may take, after what jobs of its rules took, or jobs of any; None: too little is known.

        That is so until the first training ends, if there is one: trainings say themselves how long they take.
        """
        known = [seconds for rule in list(self._seconds.values()) for seconds in list(rule)]
        if not known or self.elapsed(now) <= 0:
            return None
        if any(self.planned[rule] and not self._seconds.get(rule) for rule in _LONG_RULES):
            return None
        usual = sum(known) / len(known)
        ahead = 0.0
        for rule, count in self.planned.items():
            seconds = list(self._seconds.get(rule, ()))
            ahead += (count - len(seconds)) * (sum(seconds) / len(seconds) if seconds else usual)
        ahead -= sum(min(now - job.started, usual) for job in list(self.running.values()))
        at_once = max(1.0, sum(known) / self.elapsed(now))
        return max(0.0, ahead) / at_once

    def _together(self, rule: str, now: float) -> Iterator[str]:
        names = self._gathered.pop(rule, [])
        if len(names) == 1:
            yield self._line(names[0], now)
        elif names:
            yield self._line(f"{_common(names) or rule} ... ({len(names)} jobs)", now)

    def _line(self, name: str, now: float, seconds: float | None = None) -> str:
        counted = f"{self.done:>{len(str(self.total))}}/{self.total}"
        said = [] if seconds is None or seconds < 1 else [f"took {duration(seconds)}"]
        left = self.left(now)
        if left is not None and self.done < self.total:
            said.append(f"about {duration(left)} left")
        return f"{duration(self.elapsed(now)):>7}  {counted}  {name}" + (f"  ({', '.join(said)})" if said else "")


def duration(seconds: float) -> str:
    """1:05, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def reason(job: Job) -> str:
    """Why a job has failed, in one line: its own error line, or else the last one of its log."""
    lines = [line for file in job.log for line in log_lines(file)]
    errors = [line for line in lines if line.startswith(_ERROR)]
    if errors:
        return errors[-1]
    if lines:
        return f"{_ERROR}the step ended without a reason of its own; the last line of its log: {lines[-1].strip()}"
    return f"{_ERROR}the step ended without a word; it may have been killed, such as for want of memory"


def log_lines(file: str) -> list[str]:
    """The lines of a log that say something; none if it cannot be read."""
    try:
        with open(file, "rb") as opened:
            opened.seek(max(0, Path(file).stat().st_size - _LOG_BYTES))
            text = opened.read().decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.replace("\r", "\n").splitlines() if line.strip()]


def _notes(job: Job) -> Iterator[str]:
    found = dict.fromkeys(line for file in job.log for line in log_lines(file) if line.startswith(_NOTES))
    yield from list(found)[:_MOST_NOTES]


def _common(names: Sequence[str]) -> str:
    """The words that all names begin with."""
    words = [name.split() for name in names]
    return " ".join(commonprefix(words))
