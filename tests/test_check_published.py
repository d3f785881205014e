"""`check-published`: what the authors found is found again, and a planted error does not pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from evaluator_tables import shared_data
from published_losses import TASKS, write_folder

from spokeneval.__main__ import main
from spokeneval.errors import SpokenevalError
from spokeneval.evaluators.check_published import Compared, check_published, report_lines


def edit(folder: Path, name: str, change: Any) -> None:
    path = folder / name
    if name.endswith(".json"):
        values = json.loads(path.read_text())
        change(values)
        path.write_text(json.dumps(values))
    else:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        change(lines)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_the_authors_arithmetic_written_as_loops_is_repeated_on_any_tasks_and_number_of_items(tmp_path):
    tasks = (*TASKS, "laughter_consistency")
    compared = check_published(write_folder(tmp_path, 60, tasks))
    assert {(c.task, c.name) for c in compared} == {
        (task, name)
        for task in tasks
        for name in ("global", "localized_100ms", "windowed_100ms", "localized_500ms", "windowed_500ms")
    }
    assert [c for c in compared if c.differing] == []
    assert {c.n_items for c in compared} == {60}
    assert all(c.accuracy_percent == pytest.approx(c.published_percent) for c in compared)
    assert any(0 < c.accuracy_percent < 100 for c in compared), "the items are neither all right nor all wrong"


def test_the_published_losses_of_llama_mimi_are_within_the_bounds():
    compared = check_published(shared_data("llama_mimi_salmon"))
    assert len(compared) == 4 * 9
    assert {len(c.differing) for c in compared if c.name == "global"} == {0}
    assert max(len(c.differing) for c in compared) <= 4
    assert all(c.within for c in compared)


def test_one_global_verdict_that_differs_fails_and_is_named(tmp_path, capsys):
    folder = write_folder(tmp_path, 60)

    def flip(verdicts):
        right = verdicts[TASKS[0]]["global"]["correct_items"]
        verdicts[TASKS[0]]["global"]["correct_items"] = right[1:]

    index = json.loads((folder / "verdicts.json").read_text())[TASKS[0]]["global"]["correct_items"][0]
    edit(folder, "verdicts.json", flip)
    with pytest.raises(SystemExit) as stopped:
        main(["check-published", str(folder)])
    assert stopped.value.code == 1
    printed = capsys.readouterr().out
    assert f"{TASKS[0]}, global, item {index}: published wrong, here right:" in printed
    assert "1 of 15 comparisons are beyond their bound" in printed


def test_losses_that_were_changed_are_seen(tmp_path):
    folder = write_folder(tmp_path, 60)

    def shift(lines):
        for line in lines:
            line["negative_sample_tokenwise_loss"] = [0.9 * v for v in line["negative_sample_tokenwise_loss"]]

    edit(folder, f"{TASKS[2]}.jsonl", shift)
    beyond = {(c.task, c.name) for c in check_published(folder) if not c.within}
    assert (TASKS[2], "global") in beyond
    assert {task for task, _ in beyond} == {TASKS[2]}


@pytest.mark.parametrize(
    ("name", "n_items", "shares_prompt", "bound"),
    [
        ("global", 200, True, 0),
        ("windowed_100ms", 200, True, 4),
        ("localized_500ms", 20, True, 4),
        ("localized_500ms", 1000, True, 20),
        ("windowed_100ms", 200, False, 0),
    ],
)
def test_bounds_are_none_for_global_and_without_a_prompt_and_four_elsewhere(name, n_items, shares_prompt, bound):
    def with_differing(n: int) -> Compared:
        return Compared("t", name, n_items, dict.fromkeys(range(n), ""), 50.0, 50.0, n_items // 2, shares_prompt)

    assert with_differing(bound).within
    assert not with_differing(bound + 1).within


def test_a_percentage_that_contradicts_the_items_is_said(tmp_path):
    folder = write_folder(tmp_path, 10)

    def contradict(verdicts):
        verdicts[TASKS[0]]["global"]["accuracy_percent"] = 12.5

    edit(folder, "verdicts.json", contradict)
    compared = check_published(folder)
    assert f"note: {TASKS[0]}, global: accuracy_percent is 12.5, but" in "\n".join(report_lines(compared))
    assert all(c.within for c in compared)


def test_an_item_that_cannot_be_scored_differs(tmp_path):
    folder = write_folder(tmp_path, 6)

    def spoil(lines):
        lines[2]["negative_sample_tokenwise_loss"][5] = float("nan")

    edit(folder, f"{TASKS[0]}.jsonl", spoil)
    found = next(c for c in check_published(folder) if c.name == "global")
    assert "here failed: negative: 1 of" in found.differing[2]
    assert any("item 2: published" in line for line in report_lines([found]))


def test_a_good_folder_ends_well_and_says_so(tmp_path, capsys):
    main(["check-published", str(write_folder(tmp_path, 5))])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "0 of 75 verdicts differ; all within their bounds"
    assert len(lines) == 1 + 15 + 2


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("verdicts.json", lambda v: v.pop(TASKS[1]), "lacks the task 'rir_consistency', whose losses are there"),
        ("verdicts.json", lambda v: v.update(other={"global": {}}), "correct_items is None; expected a list"),
        ("verdicts.json", lambda v: v[TASKS[0]].update(locally={}), "locally: unknown evaluator"),
        ("verdicts.json", lambda v: v[TASKS[0]].update(localized_0ms={}), "localized_0ms: unknown evaluator"),
        (
            "verdicts.json",
            lambda v: v[TASKS[0]]["global"].update(accuracy_percent="85"),
            "accuracy_percent is '85'; expected a number",
        ),
        (
            "verdicts.json",
            lambda v: v[TASKS[0]]["global"]["correct_items"].append(77),
            "lacks the item 77, on which verdicts.json has a verdict",
        ),
        ("rir_consistency.jsonl", lambda lines: lines.append(lines[0]), "has the index 0 twice"),
        ("rir_consistency.jsonl", lambda lines: lines[1].update(task="x"), "holds items of x; expected"),
        ("rir_consistency.jsonl", lambda lines: lines[1].pop("code_depth"), "line 2: lacks code_depth"),
    ],
)
def test_a_malformed_folder_is_refused_by_file(tmp_path, name, change, message):
    folder = write_folder(tmp_path, 3)
    edit(folder, name, change)
    with pytest.raises(SpokenevalError, match=message):
        check_published(folder)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(SpokenevalError, match=r"verdicts\.json: cannot be read \(No such file"):
        check_published(tmp_path / "nowhere")
    folder = write_folder(tmp_path / "data", 3)
    (folder / "rir_consistency.jsonl").unlink()
    with pytest.raises(SpokenevalError, match=r"but no rir_consistency\.jsonl"):
        check_published(folder)
    (folder / "verdicts.json").write_text("{")
    with pytest.raises(SpokenevalError, match=r"verdicts\.json: not JSON"):
        check_published(folder)
