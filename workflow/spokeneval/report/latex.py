"""LaTeX of tables: escaped text, booktabs, one caption; no float is placed and no package but booktabs is needed.

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


def value(
    share: float | None,
    low: float | None = None,
    high: float | None = None,
    letters: str | None = None,
    n: int | None = None,
) -> str:
    """A share in percent with its letters raised, its interval and its n in lines below; '--' where there is none."""
    if share is None:
        return "--"
    lines = [f"{100 * share:.1f}" + (rf"\textsuperscript{{{escape(letters)}}}" if letters else "")]
    if low is not None and high is not None:
        lines.append(rf"\scriptsize {{[}}{100 * low:.1f}, {100 * high:.1f}{{]}}")
    if n is not None:
        lines.append(rf"\scriptsize $n$ {n}")
    return lines[0] if len(lines) == 1 else r"\shortstack[l]{" + r"\\".join(lines) + "}"


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
        lines = [
            "% needs \\usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{self.caption}}}",
            rf"\label{{tab:{self.label}}}",
            rf"\begin{{tabular}}{{@{{}}{self.align or 'l' * len(self.header)}@{{}}}}",
            r"\toprule",
            " & ".join(self.header) + r" \\",
            r"\midrule",
        ]
        for k, row in enumerate(self.rows):
            lines += [r"\midrule"] if k in self.rules_before else []
            lines.append(" & ".join(row) + r" \\")
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"
