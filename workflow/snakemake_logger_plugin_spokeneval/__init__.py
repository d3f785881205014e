"""What a person sees while spokeneval runs: one line a job, how much is left, and errors without tracebacks.

Snakemake finds this plugin by its name; `logger: spokeneval` in profiles/default asks for it. Dry runs print what
plain Snakemake prints. The full record of a run is in .snakemake/log, that of a job in its log file.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from pathlib import Path
from typing import Any

from snakemake.logging import DefaultFilter, DefaultFormatter
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

_HIDDEN = re.compile(
    r"^(host: |Building DAG|Using shell|Provided cores|Rules claiming|Select jobs|Execute \d+ jobs|Removing output|"
    r"Shutting down|Assuming unrestricted|Complete log|\s*$|Finished jobid|Unlocking|Storing|At least one job)"
)
_SHOWN_ERROR_LINES = 6


class LogHandler(LogHandlerBase):
    def __post_init__(self) -> None:
        self._names: dict[int, str] = {}
        self._started: dict[int, float] = {}
        self._begin = time.monotonic()
        self._done = 0
        self._total = 0
        settings = self.common_settings
        self._plain = DefaultFormatter(settings.quiet, settings.show_failed_logs)
        self._filter = DefaultFilter(settings.quiet, settings.debug_dag, settings.verbose, settings.dryrun, False)

    writes_to_stream = property(lambda self: True)
    writes_to_file = property(lambda self: False)
    has_filter = property(lambda self: True)
    has_formatter = property(lambda self: True)
    needs_rulegraph = property(lambda self: False)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self.common_settings.dryrun or self.common_settings.verbose:
                text = self._plain.format(record) if self._filter.filter(record) else ""
            else:
                text = self._line(getattr(record, "event", None), record.__dict__, record)
            if text and text != "None":
                print(text, file=sys.stdout if self.common_settings.stdout else sys.stderr, flush=True)
        except Exception:
            self.handleError(record)

    def _line(self, event: LogEvent | None, fields: dict[str, Any], record: logging.LogRecord) -> str:
        match event:
            case LogEvent.RUN_INFO:
                return self._run_info(fields)
            case LogEvent.JOB_INFO:
                job = int(fields["jobid"])
                self._names[job] = fields.get("rule_msg") or _name(fields)
                self._started[job] = time.monotonic()
                return f"{self._clock()} {'start':>7}  {self._names[job]}"
            case LogEvent.JOB_FINISHED:
                return self._finished(fields)
            case LogEvent.JOB_ERROR:
                return self._failed(fields)
            case LogEvent.PROGRESS:
                self._done, self._total = int(fields["done"]), int(fields["total"])
                return ""
            case None | LogEvent.ERROR:
                return self._message(record)
            case _:
                return ""

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._begin), 60)
        return f"{minutes:3d}:{seconds:02d}"

    def _run_info(self, fields: dict[str, Any]) -> str:
        counts = {
            line.split()[0]: int(line.split()[1])
            for line in str(fields["msg"]).splitlines()
            if re.fullmatch(r"\S+\s+\d+", line.strip())
        }
        self._total = counts.pop("total", sum(counts.values()))
        stages = ", ".join(f"{count} {name}" for name, count in counts.items() if name != "all")
        return f"{self._total} jobs: {stages}"

    def _finished(self, fields: dict[str, Any]) -> str:
        lines = []
        for job in _job_ids(fields):
            self._done += 1
            seconds = time.monotonic() - self._started.get(job, time.monotonic())
            share = f"{self._done}/{self._total}"
            lines.append(f"{self._clock()} {share:>7}  {self._names.get(job, job)}  ({seconds:.1f} s)")
        return "\n".join(lines)

    def _failed(self, fields: dict[str, Any]) -> str:
        job = _job_ids(fields)[0] if _job_ids(fields) else -1
        logs = [str(log) for log in fields.get("log") or []]
        lines = [f"{self._clock()} {'FAILED':>7}  {self._names.get(job) or _name(fields)}"]
        if logs:
            lines += [f"{'':14}  {line}" for line in _last_error(Path(logs[0]))]
            lines.append(f"{'':14}  whole log: {logs[0]}")
        return "\n".join(lines)

    def _message(self, record: logging.LogRecord) -> str:
        text = str(record.getMessage())
        if record.levelno < logging.WARNING:
            return "" if _HIDDEN.match(text) else text
        if re.match(
            r"(RuleException|CalledProcessError|Error in rule|Exiting because a job|.*WorkflowError:\s*At least)", text
        ):
            return ""  # the job's own error line says it
        return text


def _name(fields: dict[str, Any]) -> str:
    wildcards = ", ".join(f"{key} {value}" for key, value in dict(fields.get("wildcards") or {}).items())
    return f"{fields.get('rule_name') or fields.get('name')} {wildcards}".strip()


def _job_ids(fields: dict[str, Any]) -> list[int]:
    """The ids of an event's jobs; Snakemake names them in three ways."""
    for key in ("jobs", "job_ids"):
        if fields.get(key):
            return [int(job) for job in fields[key]]
    for key in ("job_id", "jobid"):
        if fields.get(key) is not None:
            return [int(fields[key])]
    return []


def _last_error(log: Path) -> list[str]:
    """The lines that begin with `error:`, or else the last lines of a log."""
    try:
        lines = [line.rstrip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ["no log was written"]
    errors = [line for line in lines if line.startswith("error:")]
    return (errors or lines)[-_SHOWN_ERROR_LINES:]
