"""Every table of a report, and the file that each is written to."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from spokeneval.report.people.tables import PeopleTables
from spokeneval.report.schemas import (
    ACCURACY,
    AGREEMENT,
    BEST_STEPS,
    COMPARISONS,
    FAILURES,
    GAP,
    GROUPS,
    LEARNING,
    STRATA,
    TIMINGS,
)
from spokeneval.report.schemas_content import CONTENT
from spokeneval.report.schemas_judges import JUDGES, JUDGES_BY_CODEC, MODEL_JUDGING, MODEL_JUDGING_SAMPLES
from spokeneval.report.schemas_provenance import PROVENANCE
from spokeneval.report.schemas_time import LATENCY, PROFILE
from spokeneval.table_schema import TableSchema


@dataclass(frozen=True)
class ReportTables:
    """Every table of a report, in the schemas of `report.schemas`."""

    accuracy: pl.DataFrame
    comparisons: pl.DataFrame
    judges: pl.DataFrame
    judges_by_codec: pl.DataFrame
    model_judging: pl.DataFrame
    model_judging_samples: pl.DataFrame
    content: pl.DataFrame
    said: pl.DataFrame
    """The judging rows of transcribers, one per item, source and sample."""
    agreement: pl.DataFrame
    failures: pl.DataFrame
    timings: pl.DataFrame
    profile: pl.DataFrame
    latency: pl.DataFrame
    provenance: pl.DataFrame
    items: pl.DataFrame
    strata: pl.DataFrame
    groups: pl.DataFrame
    gap: pl.DataFrame
    learning: pl.DataFrame
    best_steps: pl.DataFrame
    no_judge: dict[str, str]
    """task -> why no judge was chosen for it"""
    heard: pl.DataFrame
    """The judging rows behind `model_judging`, one per item and sample."""
    people: PeopleTables
    """What people said in listening tests, and which evaluators agree with it."""
    n_items: int
    n_failed_items: int
    """Items with at least one failed row."""

    def named(self) -> dict[str, tuple[pl.DataFrame, TableSchema]]:
        """File name in tables/ -> table and schema."""
        return {
            "accuracy": (self.accuracy, ACCURACY),
            "comparisons": (self.comparisons, COMPARISONS),
            "judges": (self.judges, JUDGES),
            "judges_by_codec": (self.judges_by_codec, JUDGES_BY_CODEC),
            "model_judging": (self.model_judging, MODEL_JUDGING),
            "model_judging_samples": (self.model_judging_samples, MODEL_JUDGING_SAMPLES),
            "content": (self.content, CONTENT),
            "agreement": (self.agreement, AGREEMENT),
            "failures": (self.failures, FAILURES),
            "timings": (self.timings, TIMINGS),
            "profile": (self.profile, PROFILE),
            "latency": (self.latency, LATENCY),
            "provenance": (self.provenance, PROVENANCE),
            "strata": (self.strata, STRATA),
            "groups": (self.groups, GROUPS),
            "gap": (self.gap, GAP),
            "learning": (self.learning, LEARNING),
            "best_steps": (self.best_steps, BEST_STEPS),
            **self.people.named(),
        }
