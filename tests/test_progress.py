"""Progress lines: rare, with what is left, and no pace taken from what was done before."""

import io

import pytest

from spokeneval.progress import Progress, duration


def lines_of(adds, total, **options):
    now = [0.0]
    stream = io.StringIO()
    progress = Progress("likelihood m", total, stream=stream, clock=lambda: now[0], **options)
    for seconds, n in adds:
        now[0] += seconds
        progress.add(n)
    return stream.getvalue().splitlines(), progress, now, stream


def test_a_line_at_most_every_two_seconds_with_the_time_left():
    lines, *_ = lines_of([(0, 0), *[(0.5, 10)] * 8], 100)
    assert lines == ["likelihood m: 40/100 clips, 3 s left", "likelihood m: 80/100 clips, 1 s left"]


def test_what_the_store_had_says_nothing_of_the_pace():
    lines, *_ = lines_of([(0.1, 90), (5, 5)], 100)
    assert lines == ["likelihood m: 95/100 clips, 5 s left"]


def test_without_a_total_only_the_count_is_told():
    lines, progress, now, stream = lines_of([(3, 7)], None, unit="items")
    assert lines == ["likelihood m: 7 items"]
    now[0] = 65.0
    progress.finish()
    assert stream.getvalue().splitlines()[-1] == "likelihood m: 7 items, 1 min 05 s"


def test_nothing_done_is_not_reported():
    _, progress, _, stream = lines_of([], 10)
    progress.finish()
    assert stream.getvalue() == ""


def test_through_passes_everything_on():
    progress = Progress("clips", stream=io.StringIO())
    assert list(progress.through("abc")) == ["a", "b", "c"]
    assert progress.n_done == 3


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")])
def test_durations_are_for_people(seconds, text):
    assert duration(seconds) == text
