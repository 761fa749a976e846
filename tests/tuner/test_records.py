"""Records of trials: which is the best, and what is no record."""

import json
from dataclasses import asdict

import pytest

from data_prep.refused import Refused
from data_prep.storage import Storage
from tuner.records import FORMAT, RECORD, TrialRecord, best_of, load_records, trial_name


def scored(number, best, state="finished"):
    return TrialRecord(trial_name(number), number, {}, state=state, best=best)


def test_the_best_is_the_first_of_equals_and_never_a_failed_one():
    records = [scored(1, 0.99, "failed"), scored(2, None), scored(4, 0.7, "lost"), scored(3, 0.7), scored(5, 0.0)]
    assert best_of(records, "max").number == 3
    assert best_of(records, "min").number == 5
    assert best_of(records[:2], "max") is None
    assert best_of([], "max") is None


@pytest.mark.parametrize("best", ["1" + "0" * 400, "NaN", "[]"])
def test_what_is_no_finite_best_is_refused(best, tmp_path):
    folder = Storage.at(tmp_path)
    scored(1, 0.5).save(folder)
    assert [of.best for of in load_records(folder)] == [0.5]
    content = json.dumps({"format": FORMAT, **asdict(scored(1, 0.5))})
    (folder / "trial-0001").write(RECORD, content.replace('"best": 0.5', f'"best": {best}').encode())
    with pytest.raises(Refused, match="is not the record of a trial"):
        load_records(folder)
