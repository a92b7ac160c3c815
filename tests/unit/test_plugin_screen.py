"""What the logger plugin shows of a run: lines, bar, notes, and after a failure its reason last."""

import io
import logging
import sys
import time

import pytest
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.tests import MockOutputSettings, TestLogHandlerBase

from snakemake_logger_plugin_hsisr import LogHandler
from snakemake_logger_plugin_hsisr.steps import Job, Steps, duration


class TestAsSnakemakeAsks(TestLogHandlerBase):
    __test__ = True

    def get_log_handler_cls(self):
        return LogHandler

    def get_log_handler_settings(self):
        return None


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Run:
    """A run that is told to a handler event by event."""

    def __init__(self, monkeypatch, stream=None, **settings):
        self.stream = stream or io.StringIO()
        monkeypatch.setattr(sys, "stderr", self.stream)
        monkeypatch.setattr(sys, "stdout", self.stream)
        chosen = MockOutputSettings()
        chosen.printshellcmds = chosen.show_failed_logs = False
        for name, value in settings.items():
            setattr(chosen, name, value)
        self.handler = LogHandler(chosen, None)
        self.now = time.time() - 1000

    def tell(self, event=None, message="", level=logging.INFO, **facts):
        record = logging.LogRecord("snakemake", level, "x.py", 1, message, (), None)
        record.created = self.now
        if event is not None:
            record.event = event
        record.__dict__.update(facts)
        self.handler.handle(record)

    def plan(self, **jobs):
        self.tell(LogEvent.RESOURCES_INFO, cores=2)
        self.tell(LogEvent.RUN_INFO, "Job stats: ...", stats={**jobs, "total": sum(jobs.values())})

    def start(self, number, rule, name, log=(), shellcmd="do it"):
        self.tell(
            LogEvent.JOB_INFO, jobid=number, rule_name=rule, rule_msg=name, log=list(log), shellcmd=shellcmd
        )  # fmt: skip
        self.tell(LogEvent.SHELLCMD, shellcmd=shellcmd)

    def finish(self, number, seconds=2.0):
        self.now += seconds
        self.tell(LogEvent.JOB_FINISHED, job_id=number)

    def fail(self, number, rule, log=()):
        self.tell(LogEvent.JOB_ERROR, level=logging.ERROR, jobid=number, rule_name=rule, rule_msg=None, log=list(log))

    def end(self) -> list[str]:
        self.handler.close()
        self.handler.close()  # as logging does once more when Python ends
        return self.stream.getvalue().splitlines()


def story(run: Run, log=()) -> None:
    """Three steps and the target rule."""
    for text in ("Building DAG of jobs...", "Using shell: /bin/bash", "Select jobs to execute..."):
        run.tell(message=text)
    run.plan(fetch=1, train=2, all=1)
    run.start(1, "fetch", "Fetching cave")
    run.finish(1)
    run.start(2, "train", "Training one", log)
    run.finish(2, 60)
    run.start(3, "train", "Training two")
    run.finish(3, 65)
    run.start(0, "all", None, shellcmd=None)
    run.finish(0, 0)


def test_one_line_a_step(monkeypatch):
    run = Run(monkeypatch)
    story(run)
    assert run.end() == [
        "3 steps on 2 cores",
        "   0:02  1/3  Fetching cave  (took 0:02)",
        "   1:02  2/3  Training one  (took 1:00, about 1:00 left)",
        "   2:07  3/3  Training two  (took 1:05)",
        f"3 steps done in {duration(run.handler._steps.elapsed(time.time()))}",
    ]


def test_many_short_jobs_share_a_line_and_long_ones_do_not(monkeypatch):
    run = Run(monkeypatch)
    run.plan(convert=6, all=1)
    for number in range(6):
        run.start(number, "convert", f"Converting cave scene{number}")
        run.finish(number, 70 if number == 2 else 1)
    lines = run.end()
    assert [line.split("  ")[-2].strip() for line in lines[1:-1]][0] == "Converting cave scene2"
    assert "6/6  Converting cave ... (5 jobs)" in lines[2] and len(lines) == 4


def test_jobs_that_shared_a_line_are_told_when_the_run_ends_early(monkeypatch):
    run = Run(monkeypatch)
    run.plan(convert=6, all=1)
    for number in range(2):
        run.start(number, "convert", f"Converting cave scene{number}")
        run.finish(number, 1)
    assert "2/6  Converting cave ... (2 jobs)" in run.end()[-1]


def test_the_reason_comes_last(monkeypatch, tmp_path):
    log = tmp_path / "train.log"
    log.write_text("training: step 1\nhsisr: error: a.yaml: wrong\n")
    run = Run(monkeypatch)
    run.plan(train=1, all=1)
    run.start(1, "train", "Training one", [str(log)])
    run.tell(LogEvent.ERROR, "CalledProcessError in file x, line 3:\nCommand 'y' returned non-zero exit status 1.")
    run.fail(1, "train", [str(log)])
    run.tell(message="Exiting because a job execution failed. Look below for error messages", level=logging.ERROR)
    run.tell(LogEvent.ERROR, "WorkflowError:\nAt least one job did not complete successfully.", level=logging.ERROR)
    assert run.end() == [
        "1 step on 2 cores",
        f"failed: Training one; its log: {log}",
        "hsisr: error: a.yaml: wrong",
    ]


REASONS = {
    "Traceback (most recent call last):\n  File\nValueError: no\n": "the last line of its log: ValueError: no",
    "": "the step ended without a word; it may have been killed, such as for want of memory",
}


@pytest.mark.parametrize("text", REASONS)
def test_a_step_that_says_no_reason(monkeypatch, tmp_path, text):
    log = tmp_path / "train.log"
    log.write_text(text)
    run = Run(monkeypatch)
    run.plan(train=1)
    run.start(1, "train", "Training one", [str(log)])
    run.fail(1, "train", [str(log)])
    last = run.end()[-1]
    assert last.startswith("hsisr: error: ") and last.endswith(REASONS[text])


def test_a_retry_is_told_and_its_success_forgets_the_failure(monkeypatch, tmp_path):
    log = tmp_path / "fetch.log"
    log.write_text("hsisr: error: no network\n")
    run = Run(monkeypatch)
    run.plan(fetch=1)
    run.start(7, "fetch", "Fetching cave", [str(log)])
    run.fail(7, "fetch", [str(log)])
    run.tell(message="Trying to restart job 7.")
    log.write_text("")
    run.start(7, "fetch", "Fetching cave", [str(log)])
    run.finish(7)
    lines = run.end()
    assert lines[1] == "once more: Fetching cave: hsisr: error: no network"
    assert "failed" not in "".join(lines) and lines[-1].startswith("1 step done")


def test_notes_of_a_job_stand_below_it(monkeypatch, tmp_path):
    log = tmp_path / "train.log"
    log.write_text("training: resumes at step 4 of 6\ntraining: step 5\nhsisr: warning: odd\n")
    run = Run(monkeypatch)
    story(run, [str(log)])
    lines = run.end()
    assert lines[3:5] == ["    training: resumes at step 4 of 6", "    hsisr: warning: odd"]


def test_a_warning_of_many_jobs_stands_once(monkeypatch, tmp_path):
    log = tmp_path / "evaluate.log"
    log.write_text("hsisr: warning: odd\n")
    run = Run(monkeypatch)
    for number in (1, 2):
        run.start(number, "evaluate", f"Scoring {number}", [str(log)])
        run.finish(number)
    assert "".join(run.end()).count("odd") == 1


def test_messages_that_belong_to_no_step(monkeypatch):
    run = Run(monkeypatch)
    run.tell(message="Nothing to be done (all requested files are present and up to date).")
    run.tell(LogEvent.ERROR, "MissingRuleException:\nNo rule to produce x", level=logging.ERROR)
    assert run.end() == [
        "Nothing to be done (all requested files are present and up to date).",
        "MissingRuleException:",
        "No rule to produce x",
    ]


@pytest.mark.parametrize(
    ("quiet", "steps", "counts"),
    [
        ({Quietness.ALL}, False, False),
        ({Quietness.RULES}, False, True),
        ({Quietness.PROGRESS}, True, False),
        ({Quietness.RULES, Quietness.PROGRESS}, False, False),
    ],
)
def test_quiet(monkeypatch, quiet, steps, counts):
    run = Run(monkeypatch, quiet=quiet)
    story(run)
    text = "\n".join(run.end())
    assert ("Training one" in text, "3 steps on 2 cores" in text) == (steps, counts)
    assert bool(text) == (steps or counts)


def test_failures_are_told_unless_all_is_quiet(monkeypatch):
    for quiet, lines in (({Quietness.RULES, Quietness.PROGRESS}, 2), ({Quietness.ALL}, 0)):
        run = Run(monkeypatch, quiet=quiet)
        run.plan(train=1)
        run.start(1, "train", "Training one")
        run.fail(1, "train")
        assert len(run.end()) == lines


def test_commands_and_logs_of_failures_on_demand(monkeypatch, tmp_path):
    log = tmp_path / "train.log"
    log.write_text("first\nlast\n")
    run = Run(monkeypatch, printshellcmds=True, show_failed_logs=True)
    run.plan(train=1)
    run.start(1, "train", "Training one", [str(log)], "python -m hsisr train")
    run.fail(1, "train", [str(log)])
    assert run.end()[1:4] == ["python -m hsisr train", "first", "last"]


@pytest.mark.parametrize("setting", ["dryrun", "verbose"])
def test_dry_runs_and_verbose_ones_look_as_ever(monkeypatch, setting):
    run = Run(monkeypatch, **{setting: True})
    run.tell(LogEvent.RUN_INFO, "Job stats:\ntrain 1", stats={"train": 1, "total": 1})
    assert run.end() == ["Job stats:", "train 1"]


def shown_on(monkeypatch, stream, **settings) -> str:
    """What is written while a step runs for two pictures of the bar."""
    monkeypatch.setattr("snakemake_logger_plugin_hsisr.screen._REDRAW_SECONDS", 0.02)
    run = Run(monkeypatch, stream, **settings)
    run.now = time.time()
    run.plan(train=2, all=1)
    run.start(1, "train", "Training one")
    run.finish(1, 0)
    run.start(2, "train", "Training two")
    time.sleep(0.3)
    run.finish(2, 0)
    run.end()
    return stream.getvalue()


def test_bar_on_a_terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    text = shown_on(monkeypatch, Terminal())
    assert "\r\x1b[2K[##########..........] 1/2  0:0" in text and "Training two" in text and "\x1b[32m2 steps" in text
    assert "\n" not in text[text.index("[##########...") : text.index("2/2")].removesuffix("\r\x1b[2K")[:-20]


def test_no_colour_and_no_control_codes(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[3" not in shown_on(monkeypatch, Terminal(), nocolor=True)
    assert "\x1b" not in shown_on(monkeypatch, io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in shown_on(monkeypatch, Terminal())
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in shown_on(monkeypatch, Terminal())


def test_a_log_hears_of_a_job_that_takes_long(monkeypatch, tmp_path):
    log = tmp_path / "train.log"
    log.write_text("training: step 3/9\n")
    monkeypatch.setattr("snakemake_logger_plugin_hsisr.screen._LOOK_SECONDS", 0.02)
    run = Run(monkeypatch)
    run.plan(train=1)
    run.start(1, "train", "Training one", [str(log)])
    time.sleep(0.2)
    still = [line for line in run.end() if "still Training one: training: step 3/9" in line]
    assert len(still) == 1  # it began 1000 s ago; the next line is due when it is 2000 s old


def test_a_reader_that_has_left_ends_nothing(monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    run = Run(monkeypatch, Closed())
    story(run)
    assert run.handler._steps.done == 3


def test_time_left_follows_rules_and_jobs_side_by_side():
    steps = Steps()
    steps.plan({"short": 4, "long": 2}, 0.0)
    assert steps.left(1.0) is None
    for number in range(2):
        steps.start(number, Job("short", "s", (), 0.0))
        list(steps.finish(number, 10.0))
    assert steps.left(10.0) == pytest.approx(4 * 10 / 2)  # two at once; the long ones are taken for short ones
    steps.start(2, Job("long", "l", (), 10.0))
    list(steps.finish(2, 110.0))
    assert steps.left(110.0) == pytest.approx(2 * 10 + 100, rel=0.2)


def test_short_jobs_do_not_tell_how_long_a_training_takes():
    steps = Steps()
    steps.plan({"convert": 2, "train": 2, "evaluate": 2}, 0.0)
    for number in range(2):
        steps.start(number, Job("convert", "c", (), 5.0 * number))
        list(steps.finish(number, 5.0 * number + 5))
    assert steps.left(10.0) is None
    steps.start(2, Job("train", "t", (), 10.0))
    assert steps.left(20.0) is None
    list(steps.finish(2, 610.0))
    assert steps.left(610.0) > 600


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (65, "1:05"), (3600, "1:00:00"), (36061, "10:01:01")])
def test_duration(seconds, text):
    assert duration(seconds) == text
