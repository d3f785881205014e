"""LaTeX of tables: escaped text, booktabs, one caption; no package but booktabs and, of long tables, longtable.

Conventions: text from data goes through `escape`, which leaves no character with a meaning of its own, ligatures
included. A cell is LaTeX already; rows never begin with a bracket or a star, which `\\\\` would take as its argument.
Letters outside ASCII stay as they are: pdflatex knows the European ones, xelatex and lualatex all that the font has.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\symbol{34}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "\u2020": r"\textdagger{}",
}
"""Characters with a meaning of their own."""


def escape(text: object) -> str:
    """Any text as LaTeX that prints it; control characters and line breaks become spaces."""
    plain = "".join(" " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in str(text))
    escaped = "".join(_SPECIAL.get(character, character) for character in plain)
    # Two in a row would print as one other character.
    return re.sub(r"([-,])(?=\1)", r"\1{}", escaped)


def number(text: str) -> str:
    """A number, or several, as text: with minus signs in place of hyphens."""
    return re.sub(r"-(?=[\d.])", r"$-$", escape(text))


def value(share: float | None, low: float | None = None, high: float | None = None, letters: str | None = None) -> str:
    """A share in percent with its letters raised and its interval; '--' where there is none."""
    if share is None:
        return "--"
    raised = rf"\textsuperscript{{{escape(letters)}}}" if letters else ""
    return f"{100 * share:.1f}{raised}" + ("" if low is None or high is None else f" {_interval(low, high)}")


def stacked_value(
    share: float | None, low: float | None, high: float | None, letters: str | None, n: int | None
) -> str:
    """The same in a narrow column: interval and n in small lines below."""
    lines = [value(share, letters=letters)]
    if share is not None and low is not None and high is not None:
        lines.append(rf"\scriptsize {_interval(low, high)}")
    if share is not None and n is not None:
        lines.append(rf"\scriptsize $n$ {n}")
    return lines[0] if len(lines) == 1 else r"\begin{tabular}[t]{@{}l@{}}" + r"\\".join(lines) + r"\end{tabular}"


def _interval(low: float, high: float) -> str:
    return f"{{[}}{100 * low:.1f}, {100 * high:.1f}{{]}}"


MOST_ROWS = 25
"""Rows of a float; a longer table may break over pages."""


@dataclass(frozen=True)
class LatexTable:
    """One table; header, cells and caption are LaTeX (see `escape`)."""

    label: str
    """Of \\label: letters, digits and hyphens."""
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str
    align: str = ""
    """Of tabular; all columns to the left if empty."""
    rules_before: frozenset[int] = frozenset()
    """Rows that a thin rule separates from the row before."""

    def text(self) -> str:
        columns = rf"{{@{{}}{self.align or 'l' * len(self.header)}@{{}}}}"
        caption, label = rf"\caption{{{self.caption}}}", rf"\label{{tab:{self.label}}}"
        head = [r"\toprule", " & ".join(self.header) + r" \\", r"\midrule"]
        body = []
        for k, row in enumerate(self.rows):
            body += [r"\midrule"] if k in self.rules_before else []
            body.append(" & ".join(row) + r" \\")
        if len(self.rows) > MOST_ROWS:
            lines = [
                "% needs \\usepackage{booktabs, longtable}",
                rf"\begin{{longtable}}{columns}",
                caption + label + r" \\",
                *head,
                r"\endfirsthead",
                *head,
                r"\endhead",
                *body,
                r"\bottomrule",
                r"\end{longtable}",
            ]
        else:
            lines = [
                "% needs \\usepackage{booktabs}",
                r"\begin{table}",
                r"\centering",
                caption,
                label,
                rf"\begin{{tabular}}{columns}",
                *head,
                *body,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
            ]
        return "\n".join(lines) + "\n"
