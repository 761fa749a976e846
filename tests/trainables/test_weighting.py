"""Corpora of a union by their shares: how often their windows come, where they lie, and a training that goes on."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mixed_corpora import prepare_mixed
from small_networks import SMALL, TASK, network_of

from data_prep.manifest import WINDOW_FRAMES
from data_prep.refused import Refused
from data_prep.shards import Corpus
from trainables.config import MIRTUNE, Augmentation, Settings, TrainingConfig
from trainables.data import TrainingData
from trainables.loop import fit, train
from trainables.mixing import MixedWindows, as_heard, training_windows
from trainables.placement import MappedWindows, ResidentWindows, StreamedWindows
from trainables.state import TrainingState
from trainables.weighting import Turns, WeightedWindows, shares_of, spans_near

CPU = torch.device("cpu")
UNION = ("clicks", "mdb")
WINDOWS = st.lists(st.integers(1, 300), min_size=1, max_size=5).map(np.array)
POWERS = st.floats(0, 1)


@pytest.fixture(scope="module")
def union_shards(shards, tmp_path_factory):
    """Two corpora of different loudness, and stems."""
    folder = prepare_mixed(tmp_path_factory.mktemp("union"))
    (folder / "mdb").symlink_to(shards / "mdb")
    return folder


@pytest.fixture(scope="module")
def data(union_shards) -> TrainingData:
    return TrainingData.of([Corpus.open(union_shards / name) for name in UNION], "onsets")


@given(WINDOWS, POWERS)
def test_shares_are_those_of_windows_to_the_power(windows, power):
    shares = shares_of(windows, power)
    assert shares.sum() == pytest.approx(1)
    np.testing.assert_allclose(shares / shares[0], (windows / windows[0]) ** power)
    np.testing.assert_allclose(shares_of(windows, 0), 1 / len(windows))
    np.testing.assert_allclose(shares_of(windows, 1), windows / windows.sum())


@given(WINDOWS, POWERS, st.integers(0, 3), st.integers(1, 12))
def test_every_epoch_has_as_many_windows_as_before_and_each_corpus_its_share(windows, power, seed, epochs):
    turns, firsts = Turns(windows, power, seed), windows.cumsum() - windows
    drawn = [turns.numbers(epoch) for epoch in range(epochs)]
    assert {len(of) for of in drawn} == {windows.sum()}
    of_corpora = np.searchsorted(firsts, np.concatenate(drawn), side="right") - 1
    counts = np.bincount(of_corpora, minlength=len(windows))
    np.testing.assert_allclose(counts, epochs * windows.sum() * shares_of(windows, power), atol=1 + 1e-6)
    for epoch in drawn:
        of_epoch = np.bincount(np.searchsorted(firsts, epoch, side="right") - 1, minlength=len(windows))
        np.testing.assert_allclose(of_epoch, windows.sum() * shares_of(windows, power), atol=2)


@given(WINDOWS, POWERS, st.integers(0, 3), st.integers(1, 12))
def test_no_window_comes_again_before_all_of_its_corpus_have_come(windows, power, seed, epochs):
    turns, firsts = Turns(windows, power, seed), windows.cumsum() - windows
    seen = Counter(np.concatenate([turns.numbers(epoch) for epoch in range(epochs)]).tolist())
    for first, count in zip(firsts.tolist(), windows.tolist(), strict=True):
        times = [seen[number] for number in range(first, first + count)]
        assert max(times) - min(times) <= 1


def test_an_epoch_s_windows_need_no_other_epoch_and_differ_by_seed():
    windows = np.array([7, 90])
    whole = [Turns(windows, 0.5, 3).numbers(epoch).tolist() for epoch in range(5)]
    assert Turns(windows, 0.5, 3).numbers(4).tolist() == whole[4]
    assert Turns(windows, 0.5, 4).numbers(4).tolist() != whole[4]
    assert whole[3] != whole[4]


@pytest.mark.parametrize("windows_of", [ResidentWindows, StreamedWindows])
def test_weighted_windows_are_the_same_wherever_frames_lie_and_lie_within_their_tracks(data, windows_of):
    plain, other = (WeightedWindows(of(data.train, CPU), 0.0, 0) for of in (MappedWindows, windows_of))
    for epoch in range(3):
        batches = [list(of.epoch(epoch, 3, np.random.default_rng(epoch))) for of in (plain, other)]
        assert sum(len(bands) for bands, _ in batches[0]) == len(plain) == len(data.train)
        for expected, found in zip(*batches, strict=True):
            assert all(map(torch.equal, expected, found))


def test_a_window_is_moved_within_its_track(data):
    split = data.train
    numbers = np.random.default_rng(0).integers(len(split), size=200)
    tracks, starts = spans_near(split, numbers, WINDOW_FRAMES, np.random.default_rng(1))
    np.testing.assert_array_equal(tracks, split.in_order.tracks[numbers])
    assert (np.abs(starts - split.in_order.starts[numbers]) <= WINDOW_FRAMES).all()
    assert ((starts + WINDOW_FRAMES <= split.frames[tracks]) | (starts == 0)).all()
    assert split.windows_of_corpora.sum() == len(split)


def test_without_a_power_or_another_corpus_a_training_is_as_it_was(data, union_shards):
    assert isinstance(training_windows(data, Settings(), CPU), MappedWindows)
    assert isinstance(training_windows(data, Settings(corpus_power=0.5), CPU), WeightedWindows)
    alone = TrainingData.of([Corpus.open(union_shards / "mdb")], "onsets")
    settings = Settings(batch_size=4, max_epochs=2, precision="fp32")
    losses = [
        [epoch.metrics["train_loss"] for epoch in fit(network_of(alone, "rnn"), TASK, alone, of)]
        for of in (settings, replace(settings, corpus_power=0.0))
    ]
    assert losses[0] == losses[1]


def test_a_weighted_training_that_was_cut_goes_on_to_the_last_bit(union_shards):
    settings = Settings(batch_size=4, max_epochs=4, learning_rate=5e-3, precision="fp32", corpus_power=0.25)
    config = TrainingConfig(UNION, "rnn", SMALL["rnn"], settings)
    assert TrainingConfig.from_dict(config.to_dict()) == config
    whole, states = [], []
    for epoch in train(config, union_shards, device="cpu"):
        whole.append(epoch.metrics["train_loss"])
        states.append(epoch.state.to_bytes({}))
        assert epoch.checkpoint.config.settings.corpus_power == 0.25
    state, _ = TrainingState.from_bytes(states[1])
    torch.manual_seed(99)
    rest = [epoch.metrics["train_loss"] for epoch in train(config, union_shards, device="cpu", resume=state)]
    assert rest == whole[2:]
    plain = replace(config, settings=replace(settings, corpus_power=1.0))
    assert [epoch.metrics["train_loss"] for epoch in train(plain, union_shards, device="cpu")] != whole


def test_a_union_is_standardised_by_the_moments_of_all_its_frames(data):
    """Not by the mean of the corpora's means: one is louder, and longer, than the other."""
    frames = np.concatenate([data.train.track(number).bands for number in range(len(data.train.frames))]).astype(float)
    assert data.mean == pytest.approx(frames.mean(), rel=1e-6)
    assert data.deviation == pytest.approx(frames.std(), rel=1e-5)
    network = network_of(data, "rnn")
    assert float(network.mean) == pytest.approx(frames.mean(), rel=1e-5)
    assert float(network.deviation) == pytest.approx(frames.std(), rel=1e-5)


OFF = replace(MIRTUNE, augmentation=Augmentation(), level="as_recorded", epoch_windows=24)


@pytest.fixture(scope="module")
def with_stems(union_shards) -> TrainingData:
    """Two corpora of recordings, and one of stems."""
    return TrainingData.of([Corpus.open(union_shards / name) for name in (*UNION, "clicks_stems")], "onsets")


@pytest.mark.parametrize("power", [0.0, 0.5])
@pytest.mark.parametrize("union", ["data", "with_stems"])
def test_mixed_windows_are_drawn_by_the_corpora_s_shares(union, power, request):
    """Whether corpora are recordings or stems: a corpus of stems is one of the union like any other."""
    data = request.getfixturevalue(union)
    windows = MixedWindows(data, replace(OFF, corpus_power=power), CPU)
    counts = np.concatenate([split.windows_of_corpora for split in data.sources])
    assert len(counts) == (2 if union == "data" else 3)
    drawn = windows._drawn(20_000, np.random.default_rng(0))
    assert set(drawn) == set(range(counts.sum()))
    found = np.bincount(np.searchsorted(counts.cumsum(), drawn, side="right")) / len(drawn)
    np.testing.assert_allclose(found, shares_of(counts, power), atol=0.02)
    sources = np.bincount(windows._source_of(drawn)) / len(drawn)
    assert sources[0] == pytest.approx(found[:2].sum())
    if power == 0:
        np.testing.assert_allclose(found, 1 / len(counts), atol=0.02)


def test_without_a_power_windows_are_drawn_as_they_always_were(with_stems):
    sizes = np.array([len(split) for split in with_stems.sources])
    generator, expected = np.random.default_rng(3), []
    for count in (7, 64):
        sources = generator.choice(2, size=count, p=sizes**0.5 / (sizes**0.5).sum())
        expected.append((sizes.cumsum() - sizes)[sources] + generator.integers(sizes[sources]))
    windows, generator = MixedWindows(with_stems, replace(OFF, corpus_power=1.0), CPU), np.random.default_rng(3)
    for numbers in expected:
        np.testing.assert_array_equal(windows._drawn(len(numbers), generator), numbers)


def test_a_power_changes_what_mixed_windows_are_standardised_by(with_stems):
    heard = {power: as_heard(with_stems, replace(OFF, corpus_power=power, standardise="all"), CPU) for power in (0, 1)}
    assert heard[0].mean != heard[1].mean
    assert (heard[0].rates == heard[1].rates).all()


@pytest.mark.parametrize("power", [-0.1, 1.5, float("nan")])
def test_powers_that_are_refused(power):
    with pytest.raises(Refused, match=r"corpus_power = .*; expected 0 to 1"):
        Settings(corpus_power=power)
