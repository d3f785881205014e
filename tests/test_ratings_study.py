"""A study says everything once and in words that exist, or is refused with every problem in a line."""

from __future__ import annotations

import shutil

import pytest
import yaml
from ratings_simulation import STUDY, write_study
from workflow_project import ROOT

from spokeneval.errors import ConfigError
from spokeneval.ratings.study import read_study

VOTES = "system,item,listener,score\na,1,v,4\n"
ANCHORS = {"anchors_failed": {"top": {"systems": ["a"], "mean": 4}}}
NAMES = {"column": "name", "pattern": r"(?P<a>\w)_(?P<b>\w)", "fields": {"task": "{a}"}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scael": {}}, "scael: unknown key; did you mean 'scale'?"),
        ({"scale": {"low": 5, "high": 1}}, "scale: low is 5 and high 1; expected low below high"),
        ({"scale": {"low": 1, "high": 5, "step": 0}}, "scale.step: "),
        ({"columns": {"score": "score"}}, "system_id: nothing says where it comes from"),
        ({"constants": {"task": "t"}}, "dimension: nothing says where it comes from"),
        ({"constants": {"dimension": "d", "task": "t", "system_id": "a"}}, "system_id: is given more than once"),
        ({"constants": {"dimension": "d", "task": "t", "score": "4"}}, "constants.score"),
        ({"columns": {**STUDY["columns"], "listener": "x"}}, "columns.listener"),
        ({"columns": {**STUDY["columns"], "seconds": "s", "milliseconds": "m"}}, "has seconds and milliseconds"),
        ({"names": NAMES}, "task: is given more than once"),
        ({"names": {**NAMES, "fields": {"item_id": "{c}"}}}, "names the group 'c', which pattern has not; it has a, b"),
        ({"names": {**NAMES, "pattern": "(?P<a>"}}, "pattern: not a regular expression"),
        ({"names": {**NAMES, "fields": {"score": "{a}"}}}, "names.fields.score"),
        ({"roles": {"anchor": ["a"], "human": ["a"]}}, "roles: 'a' is anchor and human"),
        ({"columns": {**STUDY["columns"], "role": "r"}, "roles": {"human": ["a"]}}, "gives the role already"),
        ({"audio": "own"}, "audio: own needs `manifest`"),
        ({"screening": {"too_fast": {"min_seconds": 1}}}, "screening.too_fast: needs columns.seconds"),
        ({"screening": ANCHORS}, "screening.anchors_failed: 'a' is a system under test"),
        ({"screening": {"anchors_failed": {}}}, "needs top, bottom or both"),
        ({"screening": {"constant_answer": None}}, "screening.constant_answer: unknown key; did you mean"),
        ({"systems": "systems.txt"}, "systems.txt cannot be read"),
    ],
)
def test_what_is_wrong_with_a_study_is_said_at_its_key(tmp_path, changes, message):
    with pytest.raises(ConfigError) as refused:
        read_study(write_study(tmp_path, VOTES, **changes))
    assert message in str(refused.value)
    assert str(refused.value).startswith(f"{tmp_path}/study.yaml: ")
    assert ": :" not in str(refused.value)


def test_a_file_that_is_no_study_is_said_in_a_line(tmp_path):
    path = tmp_path / "study.yaml"
    for text, message in (("- 1\n", "expected keys and values"), ("a: [1\n", "not valid YAML")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            read_study(path)
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        read_study(tmp_path / "nowhere.yaml")


def test_votes_lie_beside_the_study(tmp_path):
    study = read_study(write_study(tmp_path, VOTES))
    assert study.ratings == str(tmp_path / "votes.csv")
    assert study.simulated
    assert not read_study(write_study(tmp_path, VOTES, simulated=False)).simulated


def test_the_example_is_a_study_of_people_with_no_votes_beside_it(tmp_path):
    folder = ROOT / "examples/ratings"
    shutil.copy2(folder / "study.yaml", tmp_path)
    study = read_study(tmp_path / "study.yaml")
    assert not study.simulated
    assert study.audio == "external"
    assert study.roles.human == ("NAT_S00", "NAT_T00")
    assert {path.name for path in folder.iterdir()} == {"README.md", "study.yaml"}
    assert set(yaml.safe_load((folder / "study.yaml").read_text())["screening"].values()) == {None}
