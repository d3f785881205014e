"""Which models a judge ranks, and which of them it cannot tell apart.

Conventions
-----------
- A judge ranks a model on a task only where it qualifies on real audio and does not fail through the model's codec
  (`report.judges`). Judgements of other models are shown and marked, and enter neither letters nor agreement.
- Letters are those of the evaluators (`report.comparisons`): a paired test on the items that both models have, samples
  of an item averaged first, clusters flipped as a whole, Holm over the ranked models of the task. Only the task's own
  judge gives letters.
"""

from __future__ import annotations

import polars as pl

from spokeneval.report.accuracy import cell_matrix, cluster_codes
from spokeneval.report.comparisons import compare_columns, letters_of
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.judges import Panel

_KEY = ["task", "judge", "source", "name"]


def with_ranking(
    inputs: ReportInputs, pairs: pl.DataFrame, rows: pl.DataFrame, table: pl.DataFrame, panel: Panel
) -> pl.DataFrame:
    """The table MODEL_JUDGING with what is ranked, why not, and letters. rows: see `heard.heard_rows`."""
    entries = []
    for task, judge, source, name in table.select(_KEY).iter_rows():
        natural = judge in inputs.judges and inputs.judges[judge].naturalness
        if source == "model" and not natural:
            entries.append((task, judge, source, name, *panel.ranking_of(task, judge, name)))
    if not entries:
        return table
    types = {**dict.fromkeys(_KEY, pl.String), "ranked": pl.Boolean, "ranking_note": pl.String}
    marks = pl.DataFrame(entries, schema=types, orient="row")
    marked = table.drop("ranked", "ranking_note").join(marks, on=_KEY, how="left", maintain_order="left")
    return _with_letters(inputs, pairs, rows, marked, panel).select(table.columns)


def _with_letters(
    inputs: ReportInputs, pairs: pl.DataFrame, rows: pl.DataFrame, table: pl.DataFrame, panel: Panel
) -> pl.DataFrame:
    found = []
    items = cluster_codes(pairs)
    for task, choice in panel.choices.items():
        assert choice.standing is not None
        judge = choice.standing.judge
        of_judge = (pl.col("task") == task) & (pl.col("judge") == judge) & (pl.col("source") == "model")
        ranked = table.filter(of_judge & pl.col("ranked").fill_null(False) & pl.col("share").is_not_null())
        names = ranked.sort(["share", "name"], descending=[True, False])["name"].to_list()
        by_item = (
            rows.filter(of_judge & pl.col("name").is_in(names))
            .group_by("name", "item_id", maintain_order=True)
            .agg(pl.col("verdict").mean())
        )
        of_task = items.filter(pl.col("task") == task)
        cells, verdicts = cell_matrix(by_item, of_task, ["name"], "verdict")
        tests = compare_columns(inputs, cells["name"].to_list(), verdicts, of_task["cluster_code"].to_numpy())
        letters = letters_of(names, [(row["model_a"], row["model_b"], row["p_holm"]) for row in tests])
        found += [(task, judge, "model", name, letter) for name, letter in letters.items()]
    types = dict.fromkeys([*_KEY, "letters"], pl.String)
    return table.drop("letters").join(
        pl.DataFrame(found, schema=types, orient="row"), on=_KEY, how="left", maintain_order="left"
    )
