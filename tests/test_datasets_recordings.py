"""The table of recordings: what is refused, and how the message helps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile as sf
from datasets_corpus import RATE, voice, write_table

from spokeneval.datasets.consistency import Consistency
from spokeneval.datasets.folds import assign_folds, read_groups
from spokeneval.datasets.noises import Noises
from spokeneval.datasets.recordings import Line, Recordings, normalised, read_lines
from spokeneval.errors import ConfigError


def rows(*paths: str) -> list[list[str]]:
    return [[path, "anna", "xx", "", ""] for path in paths]


class TestTable:
    def test_csv_and_parquet_are_read_alike(self, tmp_path: Path) -> None:
        table = write_table(
            tmp_path / "t.csv", [["a.wav", " anna ", "xx", "Hi, there", "7"], ["b.wav", "b", "xx", "", ""]]
        )
        pl.DataFrame(
            {"path": ["a.wav", "b.wav"], "speaker": ["anna", "b"], "language": "xx", "text": ["Hi, there", None],
             "group": [7, None], "age": [3, 4]}
        ).write_parquet(tmp_path / "t.parquet")  # fmt: skip
        lines = read_lines(table)
        assert lines == read_lines(tmp_path / "t.parquet")
        assert lines[0] == Line("a.wav", "anna", "xx", "Hi, there", "7")
        assert lines[1].text is None

    def test_a_byte_order_mark_does_no_harm(self, tmp_path: Path) -> None:
        table = write_table(tmp_path / "t.csv", rows("a.wav"))
        table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
        assert read_lines(table)[0].path == "a.wav"

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("path,speaker\na.wav,anna\n", r"t\.csv: lacks the column\(s\) language; it has path, speaker"),
            ("path;speaker;language\na.wav;anna;xx\n", "columns are separated by commas"),
            ("path,speaker,language\n", "has no rows"),
            ("path,speaker,language\na.wav,,xx\n", "row 2: speaker is empty"),
            ("path,speaker,language\na.wav,a,x\n./a.wav,b,x\n", "row 3: 'a.wav' is there twice"),
            ("path,speaker,language\n/data/a.wav,a,x\n", "'/data/a.wav' is not a path inside"),
            ("path,speaker,language\n../a.wav,a,x\n", r"'\.\./a.wav' is not a path inside"),
            ("path,speaker,language\n" + "".join(f"{n}.wav,,x\n" for n in range(9)), "row 6: .*; and 4 more"),
        ],
    )
    def test_what_cannot_be_used_is_named(self, tmp_path: Path, content: str, message: str) -> None:
        (tmp_path / "t.csv").write_text(content)
        with pytest.raises(ConfigError, match=message):
            read_lines(tmp_path / "t.csv")

    def test_a_missing_table_or_one_that_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no such table; expected a CSV or parquet file with path, speaker"):
            read_lines(tmp_path / "t.csv")
        (tmp_path / "t.parquet").write_text("not parquet")
        with pytest.raises(ConfigError, match="cannot be read as a table"):
            read_lines(tmp_path / "t.parquet")
        (tmp_path / "t.csv").write_bytes(b"path,speaker,language\n\xff\xfe.wav,a,x\n")
        with pytest.raises(ConfigError, match=r"t\.csv: cannot be read as a table"):
            read_lines(tmp_path / "t.csv")

    def test_the_same_words_are_known_whatever_their_spelling(self) -> None:
        assert normalised("  Don't GO -- yet!") == normalised("dont go yet") == "dont go yet"
        assert normalised("Ça va?") == "ça va"
        assert normalised("...") is None
        assert normalised(None) is None


class TestAudio:
    def test_all_bad_files_are_listed_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "empty.wav").write_bytes(b"")
        (tmp_path / "text.wav").write_text("not audio")
        sf.write(tmp_path / "none.wav", np.zeros(0), RATE)
        sf.write(tmp_path / "good.wav", np.zeros(RATE), RATE)
        table = write_table(tmp_path / "t.csv", rows("empty.wav", "text.wav", "none.wav", "gone.wav", "good.wav"))
        with pytest.raises(ConfigError) as caught:
            Recordings(table, RATE).check()
        message = str(caught.value)
        assert message.startswith(f"{table}: 4 of 5 recordings cannot be used: ")
        for part in (
            "empty.wav: the file is empty",
            "text.wav: cannot be read",
            "none.wav: holds no",
            "gone.wav: no such",
        ):
            assert part in message
        assert "good.wav" not in message

    def test_of_many_bad_files_five_are_shown_and_the_rest_counted(self, tmp_path: Path) -> None:
        table = write_table(tmp_path / "t.csv", rows(*(f"{n}.wav" for n in range(12))))
        with pytest.raises(ConfigError, match=r"12 of 12.*4\.wav: no such file; and 7 more\. Mend them"):
            Recordings(table, RATE).check()

    def test_damage_behind_a_good_header_is_found_when_the_file_is_used(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        for n in range(6):
            samples = voice(120.0, 3.5, rng)
            if n in {1, 4}:
                samples[100] = np.nan
            sf.write(tmp_path / f"{n}.wav", samples, RATE, subtype="FLOAT")
        table = write_table(tmp_path / "t.csv", rows(*(f"{n}.wav" for n in range(6))))
        with pytest.raises(ConfigError, match=r"2 of 6.*1\.wav: holds 1 NaN.*4\.wav: holds 1 NaN"):
            list(Consistency(table, {"room": 12}, sample_rate=RATE).items())

    def test_no_recording_is_decoded_that_no_item_needs(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        for n in range(30):
            sf.write(tmp_path / f"{n}.wav", voice(120.0, 3.5, rng), RATE)
        recordings = Consistency(write_table(tmp_path / "t.csv", rows(*(f"{n}.wav" for n in range(30)))), {"room": 4},
                                 sample_rate=RATE)  # fmt: skip
        decoded: list[str] = []
        original = Recordings._decode

        def counted(self: Recordings, line: Line, rate: int) -> np.ndarray:
            decoded.append(line.path)
            return original(self, line, rate)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Recordings, "_decode", counted)
            assert len(list(recordings.items())) == 4
        assert len(decoded) <= 6


class TestNoises:
    def test_bad_noises_are_listed(self, tmp_path: Path) -> None:
        (tmp_path / "rain").mkdir()
        sf.write(tmp_path / "rain/ok.wav", 0.1 * np.ones(RATE), RATE)
        sf.write(tmp_path / "rain/short.wav", 0.1 * np.ones(100), RATE)
        sf.write(tmp_path / "rain/silent.wav", np.zeros(RATE), RATE)
        (tmp_path / "rain/broken.flac").write_text("no")
        (tmp_path / "rain/.hidden.wav").write_text("no")
        with pytest.raises(ConfigError, match="3 of 4 noises cannot be used") as caught:
            Noises(tmp_path, RATE, np.random.default_rng(0))
        for part in ("short.wav: lasts 0.013 s", "silent.wav: is digital silence", "broken.flac: cannot be read"):
            assert part in str(caught.value)

    def test_an_empty_folder_says_what_is_expected(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="expected audio files as <class>/<file>"):
            Noises(tmp_path, RATE, np.random.default_rng(0))

    def test_files_of_a_class_are_dealt_to_both_folds(self, tmp_path: Path) -> None:
        for noise_class, n_files in (("hum", 3), ("rain", 4), ("wind", 1)):
            (tmp_path / noise_class).mkdir()
            for n in range(n_files):
                sf.write(tmp_path / noise_class / f"{n}.wav", 0.1 * np.ones(RATE), RATE)
        noises = Noises(tmp_path, RATE, np.random.default_rng(0))
        counts = {fold: {c: len(m) for c, m in noises.in_fold(fold).items()} for fold in "ab"}
        assert counts == {"a": {"hum": 2, "rain": 2, "wind": 1}, "b": {"hum": 1, "rain": 2}}
        assert [len(group) for group in noises.pairs("a", same_class=True)] == [1, 1]
        assert [len(group) for group in noises.pairs("b", same_class=False)] == [2]


class TestFolds:
    def test_with_few_groups_recordings_are_dealt_and_equal_words_stay_together(self) -> None:
        lines = [Line(f"{s}{n}.wav", s, "xx", f"text {n}", "one") for s in "ab" for n in range(20)]
        folds = assign_folds(lines, np.random.default_rng(0))
        assert sum(fold == "a" for fold in folds.values()) == 20
        assert all(folds[f"a{n}.wav"] == folds[f"b{n}.wav"] for n in range(20))

    def test_groups_file(self, tmp_path: Path) -> None:
        path = tmp_path / "groups.txt"
        path.write_text("# evaluated\nscene 1  # long\n\nscene2\n")
        assert read_groups(path) == ["scene 1", "scene2"]
        path.write_text("# nothing\n")
        with pytest.raises(ConfigError, match="names no group"):
            read_groups(path)

    def test_unknown_groups_are_named(self, tmp_path: Path) -> None:
        table = write_table(tmp_path / "t.csv", [["a.wav", "anna", "xx", "", "s1"]])
        (tmp_path / "groups.txt").write_text("s1\ns9\n")
        with pytest.raises(ConfigError, match=r"no recording has the group\(s\) s9"):
            Consistency(table, {"room": 2}, evaluation_groups=tmp_path / "groups.txt")

    def test_groups_without_a_column(self, tmp_path: Path) -> None:
        table = write_table(tmp_path / "t.csv", rows("a.wav"))
        (tmp_path / "groups.txt").write_text("s1\n")
        with pytest.raises(ConfigError, match="has no column 'group'"):
            Consistency(table, {"room": 2}, evaluation_groups=tmp_path / "groups.txt")
