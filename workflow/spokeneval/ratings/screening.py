"""Which votes are taken out of all means, by the rules that the study declares.

Conventions
-----------
- A rule that is absent from the study is off. Each rule looks at all votes as they were imported, never at what
  another rule left, so that their order changes only which rule is written down for a vote that several find.
- Listeners are judged within a dimension: who fails the anchors of naturalness may still hear the speaker.
- constant_answers, anchors_failed and too_few_votes take out all votes of the listener in the dimension; too_fast takes
  out single votes, and the listener where the share of such votes is above `max_share`.
- stale is no rule of the study: votes on superseded audio (`ratings.stale`) never count, where it is known what is
  there now. It finds audio, so that `n_listeners` is who heard it.
- Votes are excluded, never removed: the row stays, with the rule as `excluded_reason`.
"""

from __future__ import annotations

import json

import polars as pl

from spokeneval.ratings.schemas import SCREENING
from spokeneval.ratings.study import AnchorBound, AnchorsFailed, ConstantAnswers, Screening, TooFast, TooFewVotes

RULES = ("stale", "constant_answers", "too_fast", "anchors_failed", "too_few_votes")
"""In the order in which they are written down."""
_LISTENER = ("listener_id", "dimension")


def screen(
    votes: pl.DataFrame, rules: Screening, stale: pl.DataFrame | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Votes with `excluded_reason`, and what each rule found, in the schema SCREENING.

    votes: the columns of RATINGS of one test; stale: superseded audio by its `blinded_name`, None where not known.
    """
    found: dict[str, pl.Series] = {}
    untested: dict[str, int] = {}
    if stale is not None:
        found["stale"] = _where(votes, pl.col("blinded_name").is_in(stale["blinded_name"].to_list()))
    if (constant := rules.constant_answers) is not None:
        found["constant_answers"] = _where(votes, _constant(constant))
    if (fast := rules.too_fast) is not None:
        found["too_fast"] = _where(votes, _too_fast(fast))
    if (anchors := rules.anchors_failed) is not None:
        found["anchors_failed"], untested["anchors_failed"] = _anchors(votes, anchors)
    if (few := rules.too_few_votes) is not None:
        found["too_few_votes"] = _where(votes, _too_few(few))
    reason = pl.Series("excluded_reason", [None], pl.String).new_from_index(0, len(votes))
    for rule in RULES:
        if rule in found:
            named = pl.Series([rule]).new_from_index(0, len(votes))
            reason = named.zip_with(found[rule] & reason.is_null(), reason)
    screened = votes.with_columns(reason.alias("excluded_reason"))
    rows = []
    for rule in RULES:
        settings = None if rule == "stale" else getattr(rules, rule)
        hit = votes.filter(found[rule]) if rule in found else None
        rows.append(
            {
                "test_id": votes["test_id"][0],
                "rule": rule,
                "audio": votes["audio"][0],
                "simulated": votes["simulated"][0],
                "on": hit is not None,
                "settings": None if settings is None else json.dumps(settings.model_dump(mode="json"), sort_keys=True),
                "n_listeners": None if hit is None else hit["listener_id"].n_unique(),
                "n_votes": None if hit is None else len(hit),
                "n_excluded": int((reason == rule).sum()),
                "n_untested": None if hit is None else untested.get(rule, 0),
            }
        )
    table = pl.from_arrow(SCREENING.from_rows(rows))
    assert isinstance(table, pl.DataFrame)
    return screened, table


def counted(votes: pl.DataFrame) -> pl.DataFrame:
    """The votes that no rule took out."""
    return votes.filter(pl.col("excluded_reason").is_null())


def _where(votes: pl.DataFrame, found: pl.Expr) -> pl.Series:
    return votes.select(found.fill_null(False).alias("found"))["found"]


def _constant(rule: ConstantAnswers) -> pl.Expr:
    score = pl.col("score")
    same = score.min().over(_LISTENER) == score.max().over(_LISTENER)
    return same & (pl.len().over(_LISTENER) >= rule.min_votes)


def _too_fast(rule: TooFast) -> pl.Expr:
    fast = pl.col("seconds") < rule.min_seconds
    return fast if rule.max_share is None else fast | (fast.mean().over(_LISTENER) > rule.max_share)


def _too_few(rule: TooFewVotes) -> pl.Expr:
    return pl.len().over(_LISTENER) < rule.min_votes


def _anchors(votes: pl.DataFrame, rule: AnchorsFailed) -> tuple[pl.Series, int]:
    """Whose anchors are not where they belong; and how many listeners heard too few of them in a dimension."""
    listeners = votes.select(_LISTENER).unique(maintain_order=True)
    failed = tested = pl.lit(False)
    for name, bound in (("top", rule.top), ("bottom", rule.bottom)):
        if bound is None:
            continue
        listeners = listeners.join(_heard(votes, bound, name), on=_LISTENER, how="left", maintain_order="left")
        enough = pl.col(f"{name}_n").fill_null(0) >= rule.min_votes
        mean = pl.col(f"{name}_mean")
        failed |= enough & ((mean < bound.mean) if name == "top" else (mean > bound.mean))
        tested |= enough
    judged = listeners.select(*_LISTENER, failed.fill_null(False).alias("failed"), tested.alias("tested"))
    of_votes = votes.select(_LISTENER).join(judged, on=_LISTENER, how="left", maintain_order="left")
    return of_votes["failed"], judged.filter(~pl.col("tested"))["listener_id"].n_unique()


def _heard(votes: pl.DataFrame, bound: AnchorBound, name: str) -> pl.DataFrame:
    on_anchors = votes.filter(pl.col("system_id").is_in(bound.systems))
    return on_anchors.group_by(_LISTENER).agg(pl.col("score").mean().alias(f"{name}_mean"), pl.len().alias(f"{name}_n"))
