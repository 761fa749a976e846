"""The picture of learning curves: every trial is in it, whatever its epochs measured."""

from io import BytesIO

import matplotlib.image
import numpy as np
import pytest

from data_prep.colours import BLUE, GREY, VERMILION
from tuner.learning_curves import draw_learning_curves, line_of
from tuner.records import TrialRecord, trial_name
from tuner.sweep import _extra


def trained(number: int, scores: list[float], **more: float) -> TrialRecord:
    """A trial whose epochs had these scores."""
    record = TrialRecord(trial_name(number), number, {})
    for epoch, score in enumerate(scores, 1):
        metrics = {"validation_micro_f1": score, "validation_loss": 1 / epoch, "train_loss": 2 / epoch, **more}
        record.take({"epoch": epoch, "is_best": record.best is None or score > record.best, "metrics": metrics}, score)
    return record


def pixels(records: list[TrialRecord], best: TrialRecord) -> np.ndarray:
    """(height, width, 3) in 0..255."""
    png = draw_learning_curves(records, best, "micro_f1", "sweep $x_1: learning\x1b curves")
    return np.rint(matplotlib.image.imread(BytesIO(png), format="png")[..., :3] * 255).astype(int)


def share_of(colour: str, picture: np.ndarray) -> float:
    wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return float((picture == wanted).all(axis=2).mean())


def test_the_best_trial_s_score_and_losses_are_drawn_over_the_others():
    records = [trained(number, [0.1 * number, 0.2, 0.15 * number]) for number in (1, 2, 3)]
    picture = pixels(records, records[2])
    for colour in (BLUE, VERMILION, GREY, "#cccccc"):
        assert share_of(colour, picture) > 1e-4
    assert share_of("#cccccc", pixels(records[2:], records[2])) < 1e-4  # alone


def test_a_line_has_the_epochs_that_measured_it():
    record = trained(1, [0.3, 0.5], validation_plain_micro_f1=0.25)
    record.history[0]["metrics"].pop("validation_plain_micro_f1")
    assert line_of(record, "validation_plain_micro_f1") == ([2], [0.25])
    assert line_of(record, "validation_micro_f1") == ([1, 2], [0.3, 0.5])
    assert line_of(record, "unknown") == ([], [])


@pytest.mark.parametrize("more", [{}, {"validation_plain_micro_f1": 0.2}])
def test_one_epoch_of_one_trial_is_a_picture_too(more):
    record = trained(1, [0.4], **more)
    assert pixels([record], record).shape == (462, 1210, 3)


def test_a_picture_that_fails_does_not_end_a_sweep(capsys):
    with _extra("the learning curves could not be drawn"):
        raise OSError("no space")
    assert "the learning curves could not be drawn (OSError: no space); the sweep stands" in capsys.readouterr().err
