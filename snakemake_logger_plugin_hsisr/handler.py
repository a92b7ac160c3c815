"""The log handler: what Snakemake says of a run, in one line a step."""

import logging
import sys
import time
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_hsisr.screen import Screen
from snakemake_logger_plugin_hsisr.steps import Job, Steps, duration, log_lines, reason

#: Seconds after which a log that is no terminal hears of a job that still runs; then twice as many, and so on.
_STILL_SECONDS = 120.0

#: Characters of the bar itself.
_BAR_WIDTH = 20

#: Last lines of a failed job's log, with --show-failed-logs.
_TAIL_LINES = 20

#: Beginnings of messages that tell a user nothing.
_CHATTER = (
    *("Assuming unrestricted shared filesystem", "Building DAG of jobs", "Using shell:", "host: "),
    *("Select jobs to execute", "Execute ", "Config file ", "Conda environments:", "Singularity containers:"),
    *("Group jobs: inactive", "Removing output files of failed job", "Complete log(s):", "Elapsed time:"),
    *("Will exit after finishing currently running jobs", "Shutting down, this might take some time"),
    "Cannot restore ",  # an output that a failed job would have updated, and that was not there before
)

#: What Snakemake says of a failure in general; the failed jobs are told one by one.
_FAILURE = ("Exiting because a job execution failed", "WorkflowError:\nAt least one job did not complete")
_COMMAND_FAILED = "returned non-zero exit status"


class LogHandler(LogHandlerBase):
    """One line a step; on a terminal a bar; after a failure the step, its log and, last of all, its reason.

    Dry runs, `--verbose` and `--debug-dag` look as they do without this plugin.
    """

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        settings = self.common_settings
        quiet = {choice.name.lower() for choice in settings.quiet or ()}
        self._silent = "all" in quiet
        self._show_steps = not quiet & {"all", "rules"}
        self._show_progress = not quiet & {"all", "progress"}
        self._steps = Steps()
        self._told_at: dict[int, float] = {}
        self._cores: int | None = None
        stream = sys.stdout if settings.stdout else sys.stderr
        self._screen = Screen(stream, not settings.nocolor, self._bar, self._say_what_still_runs)
        self._ended = False
        self._own = _snakemakes_own(settings) if settings.dryrun or settings.verbose or settings.debug_dag else None

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        try:
            if self._own is not None:
                self._own.handle(record)
            elif not self._silent:
                self._show(record, record.__dict__)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Say what is left to say, the reason of a failure last."""
        if self._own is None and not self._silent and not self._ended:
            self._ended = True
            self._end()
        super().close()

    def _show(self, record: logging.LogRecord, facts: dict[str, Any]) -> None:
        now = record.created
        event = facts.get("event")
        if event == LogEvent.RUN_INFO:
            self._steps.plan(facts["stats"], now)
            if self._show_progress:
                self._screen.start()
                cores = "" if self._cores is None else f" on {_counted(self._cores, 'core')}"
                self._screen.say(f"{_counted(self._steps.total, 'step')}{cores}")
        elif event == LogEvent.RESOURCES_INFO:
            self._cores = facts.get("cores", self._cores)
        elif event == LogEvent.JOB_INFO:
            shown = facts["rule_msg"] is not None or facts["shellcmd"] is not None
            job = Job(facts["rule_name"], facts["rule_msg"] or facts["rule_name"], facts["log"], now, shown)
            self._steps.start(facts["jobid"], job)
        elif event == LogEvent.SHELLCMD and self.common_settings.printshellcmds and facts.get("shellcmd"):
            self._screen.say(facts["shellcmd"])
        elif event == LogEvent.JOB_FINISHED:
            for line in self._steps.finish(facts["job_id"], now):
                self._say_step(line)
        elif event == LogEvent.JOB_ERROR:
            self._fail(facts, now)
        elif event == LogEvent.GROUP_ERROR:
            for job in facts["job_error_info"]:
                self._fail(job, now)
        elif event in (None, LogEvent.ERROR):
            self._pass_on(record)

    def _fail(self, facts: dict[str, Any], now: float) -> None:
        unseen = Job(facts["rule_name"], facts["rule_name"], facts["log"], now)
        self._steps.fail(facts["jobid"], unseen)

    def _pass_on(self, record: logging.LogRecord) -> None:
        """Show a message that belongs to no event, unless it says nothing new."""
        text = str(record.msg or "").strip()
        if not text or text.startswith(_CHATTER) or text.startswith(_FAILURE) or _COMMAND_FAILED in text:
            return
        if text.startswith("Trying to restart job"):
            identity = int("".join(filter(str.isdigit, text)))
            job = self._steps.failed.get(identity)
            if job is not None:
                self._screen.say(f"once more: {job.name}: {reason(job)}")
        elif record.levelno >= logging.WARNING or not self.common_settings.quiet:
            self._screen.say(text, "red" if record.levelno >= logging.ERROR else None)

    def _say_step(self, line: str) -> None:
        if self._show_steps:
            self._screen.say(line)

    def _say_what_still_runs(self) -> None:
        """In a log, where no bar moves, a line now and then for a job that takes long."""
        now = time.time()
        for identity, job in list(self._steps.running.items()):
            waited = now - job.started
            if self._show_steps and waited > 2 * self._told_at.get(identity, _STILL_SECONDS / 2):
                self._told_at[identity] = waited
                self._screen.say(f"{duration(self._steps.elapsed(now)):>7}  still {_telling(job)}")

    def _bar(self, width: int) -> str:
        now = time.time()
        total = max(1, self._steps.total)
        filled = _BAR_WIDTH * self._steps.done // total
        left = self._steps.left(now)
        text = f"[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {self._steps.done}/{self._steps.total}"
        text += f"  {duration(self._steps.elapsed(now))}" + ("" if left is None else f", about {duration(left)} left")
        running = [job for job in list(self._steps.running.values()) if job.shown]
        if running:
            text += f"  {_telling(min(running, key=lambda job: job.started))}"
        return text[:width]

    def _end(self) -> None:
        now = time.time()
        for line in self._steps.rest(now):
            self._say_step(line)
        self._screen.close()
        failed = list(self._steps.failed.values())
        for job in failed:
            if self.common_settings.show_failed_logs:
                self._screen.say("\n".join(line for file in job.log for line in log_lines(file)[-_TAIL_LINES:]))
            where = f"; its log: {', '.join(job.log)}" if job.log else ""
            self._screen.say(f"failed: {job.name}{where}", "red")
            self._screen.say(reason(job), "red")
        if not failed and self._steps.planned and self._steps.done == self._steps.total and self._show_progress:
            took = duration(self._steps.elapsed(now))
            self._screen.say(f"{_counted(self._steps.done, 'step')} done in {took}", "green")


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _telling(job: Job) -> str:
    """A running job and the last line of its log."""
    said = [line.strip() for file in job.log for line in log_lines(file)]
    return ": ".join([job.name, *said[-1:]])


def _snakemakes_own(settings: Any) -> logging.Handler:
    """The handler that Snakemake itself would use."""
    from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter

    shown = DefaultFilter(
        settings.quiet, settings.debug_dag, settings.verbose, settings.dryrun, settings.printshellcmds
    )
    return ColorizingTextHandler(
        nocolor=settings.nocolor,
        stream=sys.stdout if settings.stdout else sys.stderr,
        formatter=DefaultFormatter(settings.quiet, settings.show_failed_logs),
        filter=shown,
    )
