"""What each stage's identity depends on: tested on configurations alone, no job is run."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from spokeneval import stages
from spokeneval.config import load_config
from spokeneval.fingerprint import Fingerprints
from spokeneval.stages import Missing, Stages, missing_lines, missing_resources, what_is_missing

CONFIG = """
datasets: {demo: {kind: consistency, recordings: data/r.csv, tasks: {speaker: 3}}}
tokenizers:
  rvq: {kind: mel_rvq, codebook: books/rvq.safetensors}
  whisper: {kind: whisper_kmeans, encoder: whisper, codebook: books/whisper.safetensors}
vocoders: {gl: {kind: griffin_lim}}
models:
  a: {path: models/a, tokenizer: rvq, vocoder: gl}
  b: {path: models/b, tokenizer: rvq, vocoder: gl}
  u: {path: models/u, tokenizer: whisper}
judges: {level: {kind: rms_level}, speaker: {kind: resemblyzer, weights: judge.pt}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("data/r.csv", "books/rvq.safetensors", "books/whisper.safetensors", "judge.pt", "whisper/model.bin"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    for model in "abu":
        (tmp_path / "models" / model).mkdir(parents=True)
        (tmp_path / "models" / model / "model.safetensors").write_text(model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def identities(config: dict[str, Any]) -> dict[tuple[str, ...], str]:
    from pathlib import Path

    return Stages(load_config(config), Fingerprints(Path("lock.json"))).all()


def changed(edit, folder=None) -> set[str]:
    """Which identities move, as "stage name name", when a configuration (or a file) is edited."""
    config = yaml.safe_load(CONFIG)
    before = identities(config)
    edited = copy.deepcopy(config)
    edit(edited)
    after = identities(edited)
    return {" ".join(key) for key in before.keys() & after.keys() if before[key] != after[key]}


HEARD = {"a": {"continuations a", "judging a level", "judging a speaker"}}
SCORED = {"a": {"likelihood a", "evaluators a"}, "u": {"likelihood u", "evaluators u"}}
REPORT = {"report demo"}


def test_nothing_moves_by_itself(folder):
    assert changed(lambda config: None) == set()


def test_new_weights_move_their_model_only(folder):
    def edit(config):
        (folder / "models/a/model.safetensors").write_text("other")

    assert changed(edit) == SCORED["a"] | HEARD["a"] | REPORT


def test_the_same_weights_elsewhere_move_nothing(folder):
    def edit(config):
        (folder / "models/a").rename(folder / "moved")
        config["models"]["a"]["path"] = "moved"

    assert changed(edit) == set()


def test_device_family_and_names_move_no_measurement(folder):
    def edit(config):
        config["models"]["a"] |= {"device": "cuda", "family": "mine"}

    assert changed(edit) == REPORT


def test_decoding_moves_what_is_heard_and_not_what_is_scored(folder):
    def edit(config):
        config["models"]["a"]["decoding"] = {"temperature": 0.5}

    assert changed(edit) == HEARD["a"] | REPORT


def test_more_samples_keep_the_continuations_that_there_are(folder):
    def edit(config):
        config["models"]["a"]["decoding"] = {"samples_per_item": 3}

    assert changed(edit) == {"judging a level", "judging a speaker"} | REPORT


def test_sequence_convention_moves_the_model(folder):
    def edit(config):
        config["models"]["a"]["sequence"] = {"bos": None}

    assert changed(edit) == SCORED["a"] | HEARD["a"] | REPORT


def test_a_codebook_moves_its_tokenizer_and_its_models_only(folder):
    def edit(config):
        (folder / "books/whisper.safetensors").write_text("other")

    assert changed(edit) == {"tokens whisper", "token_controls whisper"} | SCORED["u"] | REPORT


def test_a_window_moves_views_only(folder):
    def edit(config):
        config["evaluators"] = {"windows_s": [0.1]}

    assert changed(edit) == {"evaluators a", "evaluators b", "evaluators u"} | REPORT


def test_report_settings_move_the_report_only(folder):
    assert changed(lambda config: config.update(report={"n_listen_items": 1})) == REPORT


def test_a_recording_or_a_limit_moves_the_clips_only(folder):
    def edit(config):
        (folder / "data/one.wav").write_text("audio")

    assert changed(edit) == {"clips demo"}
    assert changed(lambda config: config["datasets"]["demo"].update(limit=2)) == {"clips demo"}


def test_a_judge_moves_its_own(folder):
    def edit(config):
        (folder / "judge.pt").write_text("other")

    moved = changed(edit)
    assert moved == {
        "embeddings speaker",
        "qualification speaker",
        "round_trips rvq gl speaker",
        "judging a speaker",
        "judging b speaker",
        "report demo",
    }


def test_a_vocoder_moves_the_round_trips_and_what_is_heard_of_them(folder):
    def edit(config):
        config["vocoders"]["gl"]["iterations"] = 3

    moved = changed(edit)
    assert "round_trip_audio rvq gl" in moved
    assert {"round_trips rvq gl level", "round_trips rvq gl speaker"} <= moved
    assert not [key for key in moved if key.startswith(("tokens", "embeddings", "qualification", "likelihood"))]


def test_a_transcriber_moves_with_its_language_and_not_with_its_device(folder):
    ear = {"kind": "whisper", "path": "whisper"}
    before, elsewhere, german = (
        identities(yaml.safe_load(CONFIG) | {"judges": {"ear": ear | added}})
        for added in ({}, {"device": "cuda"}, {"language": "de"})
    )
    assert before == elsewhere
    moved = {key for key in before if before[key] != german[key]}
    assert ("embeddings", "ear") in moved
    assert ("round_trips", "rvq", "gl", "ear") in moved
    assert not {key for key in moved if key[0] in ("tokens", "continuations")}


def test_another_release_of_a_package_moves_its_stages_unless_the_old_one_is_accepted(folder, monkeypatch):
    real = stages.package_version

    def upgraded(config):
        monkeypatch.setattr(stages, "package_version", lambda name: "99" if name == "onnxruntime" else real(name))

    moved = changed(upgraded)
    assert "embeddings level" in moved
    assert not [key for key in moved if key.startswith(("likelihood", "tokens", "continuations"))]
    monkeypatch.undo()
    monkeypatch.chdir(folder)

    def accepted(config):
        upgraded(config)
        config["accept_versions"] = {"onnxruntime": real("onnxruntime")}

    assert changed(accepted) == set()


def test_what_is_missing_is_listed_before_anything_runs_and_archived_weights_are_not(folder):
    from pathlib import Path

    config = load_config(yaml.safe_load(CONFIG))
    prints = Fingerprints(Path("lock.json"))
    Stages(config, prints).all()
    prints.save()
    for path in (folder / "models/a/model.safetensors", folder / "judge.pt"):
        path.unlink()
    (folder / "models/a").rmdir()
    later = Fingerprints(Path("lock.json"))
    assert missing_resources(config, later) == []
    (folder / "lock.json").unlink()
    missing = missing_resources(config, Fingerprints(Path("lock.json")))
    assert missing == [
        "models.a.path: models/a is not there; if it is a name on the hub, add `revision: <sha of a commit>`, or let "
        "`make pin CONFIG=...` write it",
        "judges.speaker.weights: judge.pt is not there",
    ]
    assert [entry.source for entry in what_is_missing(config, None)] == ["maybe on the hub", "here"]


@pytest.mark.parametrize(
    ("sources", "advice"),
    [
        (["fetched"], "run `make fetch CONFIG=c.yaml`"),
        (["here"], "correct the paths"),
        (["fetched", "here"], "run `make fetch CONFIG=c.yaml` for what it can bring; correct the other paths"),
        (
            ["here", "maybe on the hub"],
            "run `make pin CONFIG=c.yaml`, then `make fetch CONFIG=c.yaml`, for what is on the hub; correct the other "
            "paths",
        ),
    ],
)
def test_the_advice_on_what_is_missing_is_what_helps(sources, advice):
    missing: list[Any] = [Missing(f"{number} is not there", source) for number, source in enumerate(sources)]
    assert missing_lines(missing, "c.yaml") == [*(entry.text for entry in missing), advice]


def test_recordings_of_the_demo_are_fetched_and_other_paths_are_not(folder):
    config = yaml.safe_load(CONFIG) | {"assets": ["demo"]}
    config["datasets"]["demo"]["recordings"] = "resources/fetched/recordings/recordings.csv"
    config["judges"]["speaker"]["weights"] = "resources/demo/none.pt"
    assert [entry.source for entry in what_is_missing(load_config(config), None)] == ["fetched", "here"]


def test_a_part_that_no_asset_brings_is_named_with_the_asset_that_would(folder):
    config = yaml.safe_load(CONFIG) | {"assets": ["demo", "hifigan"]}
    hifigan, distillmos = (f"resources/fetched/{name}/{name}.pt" for name in ("hifigan", "distillmos"))
    config["vocoders"]["hifi"] = {"kind": "hifigan", "weights": hifigan}
    config["judges"]["natural"] = {"kind": "distillmos", "weights": distillmos}
    missing = what_is_missing(load_config(config), None)
    assert missing == [
        Missing(f"vocoders.hifi.weights: {hifigan} is not there", "fetched"),
        Missing(
            f"judges.natural.weights: {distillmos} is not there; add `distillmos` to `assets` and run "
            "`make fetch CONFIG=...`",
            "told",
        ),
    ]
    assert missing_lines(missing[1:], "c.yaml") == [missing[1].text]
    assert missing_lines(missing, "c.yaml")[-1] == "run `make fetch CONFIG=c.yaml`"
    config["assets"].append("distillmos")
    assert {entry.source for entry in what_is_missing(load_config(config), None)} == {"fetched"}


def test_a_package_that_is_not_installed_is_named_with_the_command_that_installs_it(folder, monkeypatch):
    from spokeneval.config.blocks.judges import WeightsJudge

    monkeypatch.setattr(WeightsJudge, "needs", {"torch": "pip install torch", "no_such_package": "pip install it"})
    lines = missing_lines(what_is_missing(load_config(yaml.safe_load(CONFIG)), None), "c.yaml")
    assert lines == ["judges.speaker: kind 'resemblyzer' needs no_such_package, which is not installed; pip install it"]


def test_all_that_is_missing_is_listed_up_to_a_number():
    missing = [Missing(f"{number} is not there", "here") for number in range(63)]
    lines = missing_lines(missing[:60], "c.yaml")
    assert len(lines) == 61
    assert "59 is not there" in lines
    assert missing_lines(missing, "c.yaml")[-2:] == ["and 3 more that are not there", "correct the paths"]
    assert missing_lines([], "c.yaml") == []


# ---------------------------------------------------------------- votes of listeners


STUDY = """
test_id: t
ratings: votes.csv
scale: {low: 1, high: 5}
columns: {system_id: s, item_id: i, listener_id: l, score: x}
constants: {dimension: naturalness, task: speaker}
"""


@pytest.fixture
def rated(folder, monkeypatch):
    """The configuration with a study from elsewhere."""
    (folder / "test").mkdir()
    (folder / "test/study.yaml").write_text(STUDY)
    (folder / "test/votes.csv").write_text("s,i,l,x\na,1,v,4\n")
    monkeypatch.setattr(f"{__name__}.CONFIG", CONFIG + "ratings: {r: {dataset: demo, study: test/study.yaml}}\n")
    return folder


def test_an_answer_moves_its_study_and_the_report(rated):
    def edit(config):
        with open(rated / "test/votes.csv", "a") as file:
            file.write("a,2,v,4\n")

    assert changed(edit) == {"ratings r"} | REPORT


def test_a_rule_moves_its_study_a_comment_and_the_folder_do_not(rated):
    def rule(config):
        (rated / "test/study.yaml").write_text(STUDY + "screening: {too_few_votes: {min_votes: 2}}\n")

    assert changed(rule) == {"ratings r"} | REPORT

    def elsewhere(config):
        (rated / "test").rename(rated / "moved")
        (rated / "moved/study.yaml").write_text(STUDY + "screening: {too_few_votes: {min_votes: 2}}  # so be it\n")
        config["ratings"]["r"]["study"] = "moved/study.yaml"

    assert changed(elsewhere) == set()


def test_other_continuations_move_no_study_from_elsewhere(rated):
    def edit(config):
        config["models"]["a"]["decoding"] = {"temperature": 0.5}

    assert "ratings r" not in changed(edit)


def test_answers_that_are_not_there_are_said(rated):
    (rated / "test/votes.csv").unlink()
    config = load_config(yaml.safe_load(CONFIG))
    from pathlib import Path

    told = missing_resources(config, Fingerprints(Path("lock.json")))
    assert told == ["ratings.r: test/votes.csv, the answers of test/study.yaml, is not there"]
    (rated / "test/study.yaml").write_text(STUDY.replace("votes.csv", "'*.csv'"))
    assert missing_resources(config, Fingerprints(Path("lock.json"))) == [
        "ratings.r: test/*.csv: no file fits this pattern"
    ]
