"""The report's tables as LaTeX: every character prints as itself, numbers are the table's, TeX takes them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest
from hostile_report import HOSTILE, hostile_inputs
from hypothesis import given
from hypothesis import strategies as st
from report_simulation import simulate, with_published

from spokeneval.report import make_report
from spokeneval.report.latex import LatexTable, escape, number, stacked_value, value
from spokeneval.report.schemas import ACCURACY
from spokeneval.tables import read_table

PRINTABLE = "".join(map(chr, range(32, 127)))
COMMANDS = {
    "textbackslash": "\\",
    "textasciicircum": "^",
    "textasciitilde": "~",
    "textless": "<",
    "textgreater": ">",
    "textbar": "|",
    "textquotesingle": "'",
    "textasciigrave": "`",
    "textdagger": "\u2020",
}


def printed(text: str) -> str:
    """What TeX prints of escaped text, by a reader of its own; raises where a character has a meaning of its own."""
    found, i, depth = [], 0, 0
    while i < len(text):
        rest = text[i:]
        if command := re.match(r"\\symbol\{(\d+)\}", rest):
            found.append(chr(int(command[1])))
            i += command.end()
        elif command := re.match(r"\\([A-Za-z]+)\{\}", rest):
            found.append(COMMANDS[command[1]])
            i += command.end()
        elif rest[0] == "\\":
            assert rest[1] in "{}$&#%_", rest
            found.append(rest[1])
            i += 2
        elif rest[0] in "{}":
            depth += 1 if rest[0] == "{" else -1
            assert depth in (0, 1), rest
            i += 1
        else:
            assert rest[0] not in "$&#%_^~<>|\"`'", rest
            assert depth or rest[0] not in "[]*", rest
            assert rest[:2] not in ("--", ",,", "''", "``"), rest
            found.append(rest[0])
            i += 1
    assert depth == 0
    return "".join(found)


def test_every_character_prints_as_itself() -> None:
    for character in PRINTABLE:
        assert printed(escape(character)) == character
        assert printed(escape(character * 3)) == character * 3
    assert printed(escape(PRINTABLE)) == PRINTABLE
    assert printed(escape(HOSTILE)) == HOSTILE
    assert escape("a\nb\tc\x00") == "a b c "
    assert escape("Z\u00fcrich") == "Z\u00fcrich"


@given(st.text(alphabet=PRINTABLE, max_size=30))
def test_any_text_prints_as_itself(text: str) -> None:
    assert printed(escape(text)) == text


def test_values_carry_raised_letters_interval_and_n() -> None:
    assert value(0.7125) == "71.2"
    assert value(None, 0.1, 0.2, "a") == "--"
    assert value(0.5, 0.25, 0.75, "ab") == r"50.0\textsuperscript{ab} {[}25.0, 75.0{]}"
    assert stacked_value(0.5, 0.25, 0.75, "a", 40) == (
        r"\begin{tabular}[t]{@{}l@{}}50.0\textsuperscript{a}\\\scriptsize {[}25.0, 75.0{]}\\\scriptsize $n$ 40"
        r"\end{tabular}"
    )
    assert number("-.37 [-.80, .97]") == r"$-$.37 {[}$-$.80, .97{]}"


def test_long_tables_may_break_over_pages() -> None:
    assert r"\begin{table}" in LatexTable("x", ["a"], [["1"]] * 25, "c").text()
    long = LatexTable("x", ["a"], [["1"]] * 26, "c").text()
    assert r"\begin{longtable}" in long
    assert long.count(r"\label{tab:x}") == 1


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("latex")
    inputs = simulate(folder / "in", n_models=6, n_items=45, hearing=5.0)
    lines = ["pub_1 & co,speaker,localized,200,71.0", "pub_1 & co,speaker,global,,64.0"]
    make_report(with_published(inputs, folder / "p.csv", lines), folder / "report", "x")
    return folder / "report"


def test_accuracies_are_those_of_the_table_with_their_letters(made: Path) -> None:
    accuracy = read_table(made / "tables/accuracy.parquet", ACCURACY)
    text = (made / "tables/accuracy_localized.tex").read_text()
    rows = [line for line in text.splitlines() if line.startswith("sim-")]
    shown = accuracy.filter(pl.col("primary") & (pl.col("evaluator") == "localized"))
    tasks = list(dict.fromkeys(accuracy.filter("primary")["task"]))
    header = next(line for line in text.splitlines() if line.startswith("model &"))
    assert header == " & ".join(["model", *(task.replace("_", r"\_") for task in tasks)]) + r" \\"
    assert len(rows) == 6
    for line in rows:
        name, *cells = (cell.strip() for cell in line.removesuffix(r" \\").split("&"))
        for task, cell in zip(tasks, cells, strict=True):
            row = shown.filter((pl.col("model") == name) & (pl.col("task") == task)).row(0, named=True)
            assert f"{100 * row['accuracy']:.1f}\\textsuperscript{{{row['letters']}}}" in cell
            assert f"{{[}}{100 * row['low']:.1f}, {100 * row['high']:.1f}{{]}}" in cell
            assert f"$n$ {row['n_scored']}" in cell
    assert r"\textdagger{} pub\_1 \& co & " in text
    assert text.count(r"\midrule") == 2


def test_every_caption_has_the_signature(made: Path) -> None:
    files = sorted((made / "tables").glob("*.tex"))
    assert {path.stem for path in files} >= {
        *(f"accuracy_{name}" for name in ("global", "localized", "global_norm")),
        *("agreement", "comparisons", "gap", "judges", "latency", "model_judging"),
    }
    keys = ("spokeneval", "data", "evaluator", "delta", "edge", "stride", "unconditional term", "codebooks")
    for path in files:
        caption = re.search(r"\\caption\{(.*)\}", path.read_text())
        assert caption, path
        for key in (*keys, "convention", "tie", "crop", "judge"):
            assert re.search(rf"(footnotesize|;) {key} ", caption[1]), (path, key)
    assert "delta 0.2 s; edge overlap" in (made / "tables/accuracy_localized.tex").read_text()


def _structure(text: str) -> None:
    """A small parser: environments nest, every row has as many cells as the header."""
    opened = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert not opened
    body = re.sub(r"\\begin\{tabular\}\[t\].*?\\end\{tabular\}", "cell", text)
    lines = [line for line in body.splitlines() if line.endswith(r" \\") and "caption" not in line]
    assert len({len(re.findall(r"(?<!\\)&", line)) for line in lines}) == 1
    assert len(lines) > 1


def test_hostile_names_leave_the_tables_whole(made: Path, tmp_path: Path) -> None:
    make_report(hostile_inputs(tmp_path), tmp_path / "report", "x")
    for folder in (made, tmp_path / "report"):
        for path in (folder / "tables").glob("*.tex"):
            text = path.read_text()
            _structure(text)
            assert "<script>" not in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex: the small parser above stands alone")
def test_pdflatex_takes_the_tables(made: Path, tmp_path: Path) -> None:
    make_report(hostile_inputs(tmp_path), tmp_path / "hostile", "x")
    table = LatexTable("special", [escape(PRINTABLE)], [[escape("[x] *y*")], [escape(HOSTILE)]], escape(PRINTABLE))
    (tmp_path / "special.tex").write_text(table.text())
    paths = [p for folder in (made, tmp_path / "hostile") for p in sorted((folder / "tables").glob("*.tex"))]
    inputs = "\n".join(rf"\input{{{path}}}\clearpage" for path in [tmp_path / "special.tex", *paths])
    document = rf"\documentclass{{article}}\usepackage{{booktabs,longtable}}\begin{{document}}{inputs}\end{{document}}"
    (tmp_path / "main.tex").write_text(document)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-draftmode", "main.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if "booktabs.sty' not found" in done.stdout:
        pytest.skip("this TeX has no booktabs")
    assert done.returncode == 0, done.stdout[-2000:]
