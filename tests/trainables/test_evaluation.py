"""Scores on prepared corpora: within 50 ms as it always was, exact times within others, intervals, tracks."""

import json
import shutil
from dataclasses import replace

import mir_eval
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from data_prep.files import checksum
from data_prep.onset_table import ONSETS
from data_prep.onsets import ONSET
from data_prep.refused import Refused
from data_prep.shards import Corpus
from trainables import evaluation, listening
from trainables.checkpoint import Checkpoint
from trainables.config import Settings, TrainingConfig
from trainables.data import SplitData
from trainables.evaluation import evaluate
from trainables.inference import activations
from trainables.listening import Scored
from trainables.loop import train
from trainables.metrics import count_hits, join_tracks, macro_f1, micro
from trainables.peaks import PeakRule, find_peaks, pick_peaks

SMALL = {"patch_bands": 21, "heads": 2, "layers": 1, "width": 24}


@pytest.fixture(scope="module")
def checkpoint(shards) -> Checkpoint:
    """Half trained, so that it errs."""
    settings = Settings(batch_size=4, max_epochs=12, learning_rate=1e-2, precision="fp32")
    return [
        epoch.checkpoint for epoch in train(TrainingConfig(("mdb",), "vit", SMALL, settings), shards, device="cpu")
    ][-1]


@pytest.fixture(scope="module")
def tracks(shards, checkpoint):
    """Activations (T, K) and targets (T, K) of every track."""
    data = SplitData([Corpus.open(shards / "mdb")], "all")
    frames = [data.track(number) for number in range(len(data.frames))]
    return activations(checkpoint.network(), [of.bands for of in frames], "fp32"), [of.targets for of in frames]


def score_of(checkpoint, shards, **arguments):
    return evaluate(checkpoint, "mdb", shards, **{"split": "all", "device": "cpu"} | arguments)


@pytest.mark.parametrize("protocol", ["tracks", "segments"])
def test_within_50_ms_it_is_the_number_it_always_was(checkpoint, tracks, shards, protocol):
    if protocol == "tracks":
        found, reference = join_tracks(tracks[0]), join_tracks([torch.from_numpy(of == ONSET) for of in tracks[1]])
    else:
        data = SplitData([Corpus.open(shards / "mdb")], "all")
        bands, halves = data.read(data.in_order)
        with torch.inference_mode():
            found, reference = checkpoint.network()(bands).sigmoid(), halves == ONSET
    counts = count_hits(pick_peaks(found, checkpoint.peak_rule), reference).sum(dim=0).numpy()
    score = score_of(checkpoint, shards, protocol=protocol)
    rates = micro(counts)
    assert 0.05 < rates.f1 < 0.999
    assert (score.micro_f1, score.precision, score.recall) == (rates.f1, rates.precision, rates.recall)
    assert score.macro_f1 == macro_f1(counts)
    assert [of.onsets for of in score.classes.values()] == counts[:, [0, 2]].sum(axis=1).tolist()
    assert (score.tolerance_ms, score.tracks) == (50, 8)


def test_a_group_of_tracks_at_a_time_is_all_at_once(checkpoint, shards, monkeypatch):
    whole = score_of(checkpoint, shards)
    monkeypatch.setattr(listening, "FRAMES_AT_ONCE", 1500)
    assert score_of(checkpoint, shards) == whole


@pytest.mark.parametrize("tolerance_ms", [20, 25, 30])
def test_other_tolerances_are_of_exact_times(checkpoint, tracks, shards, tolerance_ms):
    table = pd.read_parquet(shards / "mdb" / ONSETS)
    ids = Corpus.open(shards / "mdb").tracks["id"]
    counts = np.zeros((5, 3), int)
    for name, found in zip(ids, tracks[0], strict=True):
        peaks = find_peaks(join_tracks([found]), checkpoint.peak_rule)[0, 10:-10].numpy()
        for of in range(5):
            held_us = np.rint(table[(table["track"] == name) & (table["class"] == of)]["time_s"].to_numpy() * 1e6)
            heard_us = np.flatnonzero(peaks[:, of]) * 10_000
            either = len(held_us) and len(heard_us)
            hits = len(mir_eval.util.match_events(held_us, heard_us, tolerance_ms * 1000)) if either else 0
            counts[of] += hits, len(heard_us) - hits, len(held_us) - hits
    (score,) = [of for of in score_of(checkpoint, shards).tolerances if of.tolerance_ms == tolerance_ms]
    assert score.micro_f1 == pytest.approx(micro(counts).f1)
    assert score.macro_f1 == pytest.approx(macro_f1(counts))
    assert [of.onsets for of in score.classes.values()] == counts[:, [0, 2]].sum(axis=1).tolist()


@pytest.mark.parametrize("protocol", ["tracks", "segments"])
def test_gains_are_averaged(checkpoint, shards, protocol):
    gains_db, data = (-6.0, 6.0), SplitData([Corpus.open(shards / "mdb")], "all")
    network = checkpoint.network()
    if protocol == "tracks":
        bands = [data.track(number).bands for number in range(len(data.frames))]
        found = join_tracks(activations(network, bands, "fp32", gains_db))
    else:
        with torch.inference_mode():
            bands, _ = data.read(data.in_order)
            found = sum(network(bands, gain_db=gain).sigmoid() for gain in gains_db) / 2
    peaks = pick_peaks(found, checkpoint.peak_rule)
    score = score_of(checkpoint, shards, protocol=protocol, gains_db=gains_db)
    heard = score.recall * sum(of.onsets for of in score.classes.values()) / score.precision
    assert len(peaks.places) == pytest.approx(heard)


def moved(shards, tmp_path, by_s):
    """The corpus with annotations that are so much later than its targets."""
    folder = shutil.copytree(shards, tmp_path / "moved") / "mdb"
    table = parquet.read_table(folder / ONSETS).to_pandas()
    parquet.write_table(pa.Table.from_pandas(table.assign(time_s=table["time_s"] + by_s)), folder / ONSETS)
    manifest = Corpus.open(folder).manifest
    replace(manifest, files={**manifest.files, ONSETS: checksum(folder / ONSETS)}).save(folder)
    return folder.parent


def perfect(monkeypatch):
    """A network that hears just what the targets say."""

    def hear(network, data, precision, gains_db):
        for number, frames in enumerate(data.frames):
            yield listening.Heard(
                join_tracks([torch.from_numpy((data.track(number).targets == ONSET).astype(np.float32))]),
                number,
                np.array([10]),
            )
            assert len(data.track(number).targets) == frames

    monkeypatch.setitem(listening.PROTOCOLS, "tracks", hear)


@pytest.mark.parametrize(("by_s", "perfect_from_ms"), [(0, 20), (0.018, 20), (0.024, 25), (-0.027, 30), (0.04, 50)])
def test_a_constant_delay_is_seen_by_the_tolerances_it_exceeds(
    checkpoint, shards, tmp_path, monkeypatch, by_s, perfect_from_ms
):
    perfect(monkeypatch)
    score = score_of(checkpoint, moved(shards, tmp_path, by_s))  # the onsets are on the grid
    assert score.micro_f1 == 1
    for of in score.tolerances:
        assert of.micro_f1 == (1 if of.tolerance_ms >= perfect_from_ms else 0), of.tolerance_ms


def test_tolerances_rise_and_intervals_hold_the_score(checkpoint, shards):
    for protocol in ("tracks", "segments"):
        score = score_of(checkpoint, shards, protocol=protocol)
        assert [of.tolerance_ms for of in score.tolerances] == [20, 25, 30, 50]
        f1s = [of.micro_f1 for of in score.tolerances]
        assert f1s == sorted(f1s)
        for of in score.tolerances:
            assert of.interval[0] <= of.micro_f1 <= of.interval[1]
            for each in of.classes.values():
                assert each.interval[0] <= each.f1 <= each.interval[1]
        last = score.tolerances[-1]
        assert (last.micro_f1, last.interval, last.classes) == (score.micro_f1, score.interval, score.classes)


def test_tracks_add_up(checkpoint, shards):
    score = score_of(checkpoint, shards)
    assert [of.id for of in score.by_track] == Corpus.open(shards / "mdb").tracks["id"].tolist()
    assert sum(of.onsets for of in score.by_track) == sum(of.onsets for of in score.classes.values())
    f1s = [of.micro_f1 for of in score.by_track]
    assert min(f1s) < score.micro_f1 < max(f1s)


def test_recordings_of_one_performance_are_drawn_together(checkpoint, shards, monkeypatch):
    whole = Scored.of

    def together(*arguments):
        scored = whole(*arguments)
        return replace(scored, performances=["one"] * len(scored.ids))

    assert score_of(checkpoint, shards).interval is not None
    monkeypatch.setattr(evaluation.Scored, "of", together)
    assert score_of(checkpoint, shards).interval is None


def test_a_score_is_json_and_says_what_picked_its_peaks(checkpoint, shards):
    score = score_of(checkpoint, shards)
    assert not score.calibrated
    shown = score.to_dict()
    assert shown == json.loads(json.dumps(shown))
    assert list(shown)[:4] == ["corpus", "split", "protocol", "tolerance_ms"]
    assert "by_track" not in shown
    assert len(score.to_dict(by_track=True)["by_track"]) == 8
    rule = PeakRule(threshold=0.3)
    tuned = replace(checkpoint, peak_rule=rule)
    mine, plain = (score_of(tuned, shards, rule=of) for of in (None, PeakRule()))
    assert (mine.calibrated, plain.calibrated) == (True, False)
    assert mine.peak_rule["threshold"] == 0.3
    assert plain == score
    assert mine.recall > plain.recall


def test_a_damaged_table_of_onsets_is_refused(checkpoint, shards, tmp_path):
    folder = shutil.copytree(shards, tmp_path / "shards")
    (folder / "mdb" / ONSETS).write_bytes(b"PAR1")
    with pytest.raises(Refused, match=r"onsets.parquet is damaged: its checksum .* run `mirtune prep mdb"):
        score_of(checkpoint, folder)
