"""Where the scored places of a clip lie in time, as a few lines of text.

Conventions
-----------
- A column is a fixed number of frames; its sign is what became of the codes that begin in it: `#` all scored, `+` some,
  `o` none (given, not scored), `-` a run that goes on, blank nothing (the context `kept` drops it).
- The transition stands above its column; marks, which have no time, are listed beside the string of ids.
"""

from __future__ import annotations

from collections.abc import Sequence

from spokeneval.check_model.scored import Place, places, units_of
from spokeneval.models.base import ScoredSequence, SpokenLM
from spokeneval.tables import KIND_EOS, KIND_UNIT
from spokeneval.tokenizers.base import Codes, TokenizerInfo

COLUMNS = 96
_TICKS = 6


def draw(model: SpokenLM, info: TokenizerInfo, codes: Codes, cut: int, transition_s: float) -> list[str]:
    """cut: first frame that is kept; transition_s: seconds, where the line is drawn."""
    per_column = -(-codes.n_frames // COLUMNS)
    n_columns = -(-codes.n_frames // per_column)
    whole, kept = model.sequence(codes), model.kept(codes, cut)
    labels = [
        f"{context:4} {info.codebook_names[q] if info.codebook_names else f'codebook {q}'}"
        for context in ("full", "kept")
        for q in range(info.n_codebooks)
    ]
    left = max(map(len, labels))
    rows = [
        _row(codes, set(units_of(sequence)), q, from_frame, per_column, n_columns)
        for sequence, from_frame in ((whole, 0), (kept, cut))
        for q in range(info.n_codebooks)
    ]
    column_s = per_column / info.frame_rate
    place = min(int(transition_s / column_s), n_columns - 1)
    return [
        f"{'seconds':{left}}  {_axis(n_columns, column_s)}",
        f"{'':{left}}  {' ' * place}v transition {transition_s:.3f} s",
        *(f"{label:{left}}  {row}" for label, row in zip(labels, rows, strict=True)),
        f"a column is {per_column} frame{'s' if per_column > 1 else ''} ({1000 * column_s:.0f} ms); # scored, "
        "+ partly, o given and not scored, - run goes on",
        f"string: {_string(whole)}",
        f"marks: {_marks(whole)}",
    ]


def _row(codes: Codes, scored: set[Place], codebook: int, from_frame: int, per_column: int, n_columns: int) -> str:
    begun: list[list[bool]] = [[] for _ in range(n_columns)]
    running = [False] * n_columns
    starts, counts, width = codes.frame_starts(), codes.frame_counts(), codes.codes.shape[1]
    for (frame, q), index in places(codes).items():
        step = index // width
        end = int(starts[step] + counts[step])
        if q != codebook or end <= from_frame:
            continue
        begun[frame // per_column].append((frame, q) in scored)
        for column in range(frame // per_column, min(n_columns - 1, (end - 1) // per_column) + 1):
            running[column] = True
    return "".join(
        ("#" if all(own) else "+" if any(own) else "o") if own else "-" if runs else " "
        for own, runs in zip(begun, running, strict=True)
    )


def _axis(n_columns: int, column_s: float) -> str:
    line = [" "] * (n_columns + 8)
    for tick in range(_TICKS):
        column = tick * n_columns // _TICKS
        for i, letter in enumerate(f"|{column * column_s:.2f}"):
            line[column + i] = letter
    return "".join(line).rstrip()


def _string(sequence: ScoredSequence, n_shown: int = 8) -> str:
    """The first and last ids, those that are scored in brackets."""
    scored = set(sequence.index.tolist())
    ids = [f"[{i}]" if place in scored else str(i) for place, i in enumerate(sequence.input_ids.tolist())]
    shown: Sequence[str] = ids if len(ids) <= 2 * n_shown else [*ids[:n_shown], "...", *ids[-3:]]
    return " ".join(shown) + f" ({len(ids)} ids; those in brackets are scored)"


def _marks(sequence: ScoredSequence) -> str:
    first = int(sequence.index[sequence.kind == KIND_UNIT].min())
    given = [i for i in range(first) if i not in set(sequence.index.tolist())]
    scored = [
        f"id {target} at place {index} scored as {'EOS' if kind == KIND_EOS else 'mark'}"
        for target, index, kind in zip(sequence.target, sequence.index, sequence.kind, strict=True)
        if kind != KIND_UNIT
    ]
    said = [f"id {sequence.input_ids[i]} at place {i} fed, not scored" for i in given]
    return "; ".join([*said, *scored]) or "none"
