"""Windows that are mixed anew: how many, from what, with labels where the sound rises; all of it by one generator."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from mixed_corpora import LONG, SHORT, prepare_mixed
from small_networks import SMALL

from data_prep.manifest import WINDOW_FRAMES
from data_prep.onsets import ONSET
from data_prep.refused import Refused
from data_prep.spectrogram import BANDS
from trainables import mixing, studio
from trainables.augmentation import Draws, power, stretched
from trainables.checkpoint import Checkpoint
from trainables.config import AUGMENTATION_MOST, MIRTUNE, Augmentation, Settings, TrainingConfig
from trainables.data import TrainingData
from trainables.level import magnitudes_of
from trainables.loop import train
from trainables.memory import MemoryGuard
from trainables.mixing import MixedWindows, as_heard, training_windows
from trainables.placement import MappedWindows, place
from trainables.state import TrainingState
from trainables.tasks import find_task
from trainables.validation import validate
from trainables.weighting import spans_near

CPU = torch.device("cpu")
ALL = ("clicks", "clicks_stems", "music")
OFF = replace(MIRTUNE, augmentation=Augmentation(), level="as_recorded", epoch_windows=24)
MIXED = replace(MIRTUNE, batch_size=4, max_epochs=3, epoch_windows=8, precision="fp32")
ALONE = {  # a half of the others
    "gain_db": 12, "class_gain_db": 4, "class_equaliser_db": 4, "class_pitch_semitones": 1, "equaliser_db": 6,
    "pitch_semitones": 2, "stretch": 0.1, "audible_rise": 10,
}  # fmt: skip
# at a half, about half the windows
SOME = ("music_share", "ring_share", "room_share", "noise_share", "bleed_share", "silence_share")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return prepare_mixed(tmp_path_factory.mktemp("mixed"))


@pytest.fixture(scope="module")
def opened(folder):
    """By the names of corpora."""
    return lambda *names: TrainingData.open(names, folder, "onsets")


def windows_of(data: TrainingData, settings: Settings = OFF, **augmentation) -> MixedWindows:
    changed = replace(settings, augmentation=replace(settings.augmentation, **augmentation))
    return MixedWindows(data, changed, CPU)


def epoch_of(windows: MixedWindows, seed: int = 0, batch_size: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """All of an epoch's bands and halves."""
    batches = list(windows.shuffled(batch_size, np.random.default_rng(seed)))
    return tuple(torch.cat(of) for of in zip(*batches, strict=True))


@pytest.mark.parametrize(("asked", "batch_size"), [(0, 4), (1, 4), (10, 4), (8, 4), (3, 100)])
def test_an_epoch_has_the_windows_that_are_asked_for(opened, asked, batch_size):
    data = opened(*ALL)
    windows = windows_of(data, replace(MIRTUNE, epoch_windows=asked))
    wanted = asked or sum(map(len, data.sources))
    batches = list(windows.shuffled(batch_size, np.random.default_rng(0)))
    assert len(windows) == wanted
    sizes = [len(bands) for bands, _ in batches]
    assert sum(sizes) == wanted
    assert all(size == batch_size for size in sizes[:-1])
    for bands, halves in batches:
        assert bands.shape == (len(bands), WINDOW_FRAMES, BANDS)
        assert halves.shape == (len(bands), WINDOW_FRAMES, 5)
        assert bands.dtype == torch.float32
        assert halves.dtype == torch.uint8
        assert torch.isfinite(bands).all()
        assert (bands >= 0).all()


def test_all_is_drawn_from_the_generator_that_is_given(opened):
    """Torch's own is neither asked nor moved: dropout draws from that one."""
    windows = windows_of(opened(*ALL), MIRTUNE, silence_share=0.3)
    windows._windows = 24
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = epoch_of(windows, 7)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    for mine, other in zip(first, epoch_of(windows, 7), strict=True):
        assert torch.equal(mine, other)
    assert not torch.equal(first[0], epoch_of(windows, 8)[0])
    generator = np.random.default_rng(7)
    epochs = [next(iter(windows.shuffled(8, generator)))[0] for _ in range(2)]
    assert not torch.equal(*epochs)  # it never comes twice


def test_with_everything_off_recordings_are_as_they_were_prepared(opened):
    data = opened("clicks")
    bands, halves = epoch_of(windows_of(data))
    whole = [data.train.track(number) for number in range(2)]
    places = 0
    for window, marks in zip(bands, halves, strict=True):
        for track in whole:
            padded = np.concatenate([track.bands, np.zeros((WINDOW_FRAMES, BANDS), np.float16)])
            for start in range(max(1, len(track.bands) - WINDOW_FRAMES + 1)):
                if np.allclose(padded[start : start + WINDOW_FRAMES], window, atol=2e-4):
                    places += 1
                    targets = np.concatenate([track.targets, np.zeros((WINDOW_FRAMES, 5), np.uint8)])
                    np.testing.assert_array_equal(marks, targets[start : start + WINDOW_FRAMES])
                    break
            else:
                continue
            break
    assert places == len(bands)


def test_with_everything_off_stems_are_as_loud_as_together(opened):
    """Where one class sounds at a time: what rings on is all that may differ."""
    bands, halves = epoch_of(windows_of(opened("clicks", "clicks_stems")))
    plain, _ = epoch_of(windows_of(opened("clicks")))
    assert halves.any(dim=1).any(dim=1).all()
    of = [magnitudes_of(window).amax() for window in bands]
    assert max(of) < 1.5 * max(magnitudes_of(window).amax() for window in plain)
    assert min(of) > 0


@pytest.mark.parametrize("name", AUGMENTATION_MOST)
def test_every_number_changes_the_windows_when_it_alone_is_on(opened, name):
    """And nothing more than that: the same windows are drawn, and labels go only where windows are without drums."""
    data = opened(*(ALL if name in ("music_share", "bleed_share") else ("clicks", "clicks_stems")))
    off, marks = epoch_of(windows_of(data), batch_size=24)
    on, changed_marks = epoch_of(windows_of(data, **{name: ALONE.get(name, 0.5)}), batch_size=24)
    if name == "audible_rise":  # of labels alone
        assert torch.equal(on, off)
        assert 0 < (changed_marks == ONSET).sum() < (marks == ONSET).sum()
        return
    share = float(((on - off).abs().amax(dim=(1, 2)) > 1e-3).float().mean())
    assert share > (0.9 if name in ALONE else 0.15)
    assert share < (0.85 if name in SOME else 1.01)
    if name == "stretch":
        assert int((changed_marks == ONSET).sum()) == pytest.approx(int((marks == ONSET).sum()), rel=0.15)
    elif name not in ("bleed_share", "silence_share"):
        assert torch.equal(marks, changed_marks)


def test_levels_over_the_music_change_windows_with_music(opened):
    data = opened(*ALL)
    found = [
        epoch_of(windows_of(data, music_share=1, over_music_low_db=low, over_music_high_db=low))[0] for low in (-12, 6)
    ]
    changed = (found[0] - found[1]).abs().amax(dim=(1, 2)) > 1e-3
    assert 0.2 < changed.float().mean() < 0.9  # recordings as they are have their music already
    assert found[0].mean() > found[1].mean()


@pytest.mark.parametrize("share", [0, 0.5])
def test_no_music_where_none_is_asked_for_or_there_is_none(opened, share):
    without = epoch_of(windows_of(opened("clicks", "clicks_stems"), music_share=share))
    with_corpus = epoch_of(windows_of(opened(*ALL), music_share=0))
    assert torch.equal(without[1], with_corpus[1])
    torch.testing.assert_close(without[0], with_corpus[0])


def test_everything_goes_without_music(opened):
    for names in (("clicks",), ("clicks", "clicks_stems"), ("clicks", "music")):
        bands, halves = epoch_of(windows_of(opened(*names), replace(MIRTUNE, epoch_windows=24)))
        assert torch.isfinite(bands).all()
        assert halves.any()


@pytest.mark.parametrize(("low_db", "high_db"), [(-12.0, 6.0), (3.0, 3.0), (-20.0, -10.0)])
def test_the_recording_is_between_the_limits_over_the_music(monkeypatch, low_db, high_db):
    monkeypatch.setattr(studio, "MOST_TONAL", 0.0)  # so that powers add up
    asked = Augmentation(music_share=1, over_music_low_db=low_db, over_music_high_db=high_db)
    generator = torch.Generator().manual_seed(0)
    recording, music = (of + torch.rand(64, WINDOW_FRAMES, BANDS, generator=generator) for of in (0.1, 1.0))
    at_work = studio.Studio(asked, None, Draws(torch.Generator().manual_seed(1)))
    no, yes = torch.zeros(64, dtype=torch.bool), torch.ones(64, dtype=torch.bool)
    mix = at_work.over(recording, music, no, yes)
    music = (mix.square() - recording.square()).clamp(min=0).sqrt()
    ratio_db = 10 * torch.log10(power(recording) / power(music))
    assert ratio_db.min() > low_db - 0.1
    assert ratio_db.max() < high_db + 0.1
    if low_db < high_db:
        assert ratio_db.std() == pytest.approx((high_db - low_db) / 12**0.5, rel=0.3)


def test_shares_of_windows_without_a_drum(opened):
    asked = {"bleed_share": 0.2, "silence_share": 0.3}
    data = opened(*ALL)
    windows = windows_of(data, replace(OFF, epoch_windows=200), **asked)
    bands, halves = epoch_of(windows, batch_size=200)
    marked = epoch_of(windows_of(data, replace(OFF, epoch_windows=200)), batch_size=200)[1]
    emptied = ~(halves > 0).flatten(1).any(dim=1)
    silent = magnitudes_of(bands).amax(dim=(1, 2)) < 0.01
    assert (marked > 0).flatten(1).any(dim=1).all()
    assert float(emptied.float().mean()) == pytest.approx(0.5, abs=0.1)
    assert float(silent.float().mean()) == pytest.approx(0.3, abs=0.1)
    assert not halves[silent].any()
    bleed = emptied & ~silent
    assert (magnitudes_of(bands[bleed]).amax(dim=(1, 2)) > 0.01).float().mean() > 0.9  # music is heard
    kept = ~emptied
    assert torch.equal(halves[kept], marked[kept])


@pytest.mark.parametrize(
    "augmentation",
    [
        Augmentation(),
        Augmentation(stretch=0.1),
        replace(MIRTUNE.augmentation, music_share=0, noise_share=0, bleed_share=0, silence_share=0),
    ],
    ids=["off", "stretch", "all"],
)
@pytest.mark.parametrize("names", [("clicks",), ("clicks", "clicks_stems")], ids=["recordings", "stems"])
def test_labels_lie_where_the_sound_rises(opened, augmentation, names):
    settings = replace(MIRTUNE, augmentation=augmentation, epoch_windows=48)
    bands, halves = epoch_of(MixedWindows(opened(*names), settings, CPU))
    flux = magnitudes_of(bands).diff(dim=1).clamp(min=0).sum(dim=2)
    off = []
    for window, frame, _ in (halves == ONSET).nonzero().tolist():
        if 6 < frame < WINDOW_FRAMES - 6:
            off.append(int(flux[window, frame - 6 : frame + 5].argmax()) - 5)
    assert len(off) > 300
    assert np.mean(np.abs(off) <= 1) >= (0.99 if augmentation.compression_share else 1)  # a gain may rise between hits


def test_a_track_that_is_no_whole_window_ends_in_silence(opened):
    windows = windows_of(opened("clicks"), stretch=0.1)
    spans = spans_near(windows.split, np.arange(len(windows.split)), windows._long, np.random.default_rng(0))
    ends = spans.starts + windows._long
    frames = windows.split.frames[spans.tracks]
    assert set(frames) == {LONG, SHORT}
    assert (spans.starts[frames == SHORT] == 0).all()
    assert (ends[frames == LONG] <= LONG).all()
    bands, halves = windows._sources[0].read(spans, windows._long)
    for of in (bands, halves):
        assert not of[frames == SHORT][:, SHORT:].any()


def test_windows_are_drawn_alike_from_every_corpus_and_window(opened):
    data = opened("clicks", "clicks_stems")
    generator = np.random.default_rng(0)
    windows = MixedWindows(data, replace(OFF, epoch_windows=4000), CPU)
    seen = []
    windows._mixed = lambda places, *_: seen.append(places)  # type: ignore[method-assign, assignment, func-returns-value]
    list(windows.shuffled(100, generator))
    counts = np.bincount(np.concatenate(seen))
    assert len(counts) == sum(map(len, data.sources))
    assert counts.min() > 0.8 * 4000 / len(counts)


@pytest.mark.parametrize("classes", [3, 8])
def test_any_vocabulary_is_mixed(tmp_path, classes):
    prepare_mixed(tmp_path, classes)
    data = TrainingData.open([f"{name}-{classes}" for name in ALL], tmp_path, "onsets")
    bands, halves = epoch_of(windows_of(data, replace(MIRTUNE, epoch_windows=8)))
    assert halves.shape == (8, WINDOW_FRAMES, classes)
    assert torch.isfinite(bands).all()


def test_a_training_on_mixed_windows_goes_on_to_the_last_bit(folder):
    config = TrainingConfig(ALL, "vit", SMALL["vit"], MIXED)
    whole, states = [], []
    for epoch in train(config, folder, device="cpu"):
        whole.append(epoch)
        states.append(epoch.state)
    assert len({epoch.metrics["train_loss"] for epoch in whole}) == 3
    for cut in (1, 2):
        state, _ = TrainingState.from_bytes(states[cut - 1].to_bytes({}))
        torch.manual_seed(99)
        rest = list(train(config, folder, device="cpu", resume=state))
        for mine, other in zip(rest, whole[cut:], strict=True):
            assert mine.metrics["train_loss"] == other.metrics["train_loss"]
            assert mine.metrics["validation_micro_f1"] == other.metrics["validation_micro_f1"]
            for name, value in other.checkpoint.weights.items():
                assert torch.equal(mine.checkpoint.weights[name], value), name


def test_a_network_is_given_what_has_the_mean_and_deviation_that_it_was_told(opened):
    data = opened(*ALL)
    settings = replace(MIRTUNE, epoch_windows=400)
    told = as_heard(data, settings, CPU)
    bands, _ = epoch_of(MixedWindows(data, settings, CPU), seed=5, batch_size=100)
    torch.testing.assert_close(told.mean, bands.mean(dim=(0, 1)), rtol=0.25, atol=0.02)
    torch.testing.assert_close(told.deviation, bands.std(dim=(0, 1)), rtol=0.25, atol=0.02)
    by_all = as_heard(data, replace(settings, standardise="all"), CPU)
    assert by_all.mean == pytest.approx(float(bands.mean()), rel=0.1)
    assert by_all.deviation == pytest.approx(float(bands.std()), rel=0.1)
    assert as_heard(opened("clicks"), Settings(), CPU) is opened("clicks")


@pytest.mark.parametrize("names", [("clicks_stems",), ("music",), ("clicks_stems", "music")])
def test_corpora_to_mix_alone_are_refused(folder, names):
    with pytest.raises(Refused, match=r"there to be mixed in training, and cannot validate it; name a corpus as it is"):
        TrainingData.open(names, folder, "onsets")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("clicks", "clicks_stems"), "'clicks_stems' is there"),
        (("music", "clicks"), "'music' is there"),
        (ALL, "'clicks_stems', 'music' are there"),
    ],
)
def test_the_study_mixes_nothing(opened, folder, names, said):
    with pytest.raises(Refused, match=f"^{said} to be mixed in training, which the recipe study does not do"):
        training_windows(opened(*names), Settings(), CPU)
    with pytest.raises(Refused, match="train by the recipe mirtune, or name other corpora"):
        next(train(TrainingConfig(names, "vit", SMALL["vit"], Settings()), folder, device="cpu"))
    asked = Settings(augmentation=Augmentation(music_share=0.5))
    assert isinstance(training_windows(opened(*names), asked, CPU), MixedWindows)
    assert isinstance(training_windows(opened("clicks"), Settings(), CPU), MappedWindows)


def test_a_network_may_standardise_each_band_by_itself(folder, tmp_path):
    config = TrainingConfig(ALL, "rnn", SMALL["rnn"], replace(MIXED, standardise="bands", max_epochs=1))
    (epoch,) = train(config, folder)
    checkpoint = epoch.checkpoint
    assert checkpoint.weights["mean"].shape == checkpoint.weights["deviation"].shape == (BANDS,)
    data = as_heard(TrainingData.open(ALL, folder, "onsets"), config.settings, CPU)
    torch.testing.assert_close(checkpoint.weights["mean"], data.mean)
    checkpoint.save(tmp_path / "saved")
    again = Checkpoint.load(tmp_path / "saved").network()
    window = torch.rand(2, WINDOW_FRAMES, BANDS)
    with torch.no_grad():
        torch.testing.assert_close(again(window), checkpoint.network()(window))
    for name in ("mean", "deviation"):
        assert torch.equal(again.state_dict()[name], checkpoint.weights[name])
    assert not torch.equal(again.mean, again.deviation)
    other = replace(config, settings=replace(config.settings, standardise="all"))
    replace(checkpoint, config=other).save(tmp_path / "other")
    with pytest.raises(Refused, match="do not fit"):
        Checkpoint.load(tmp_path / "other")


def test_what_is_mixed_already_gets_no_second_room_or_music(opened):
    settings, asked = replace(OFF, epoch_windows=16), {"music_share": 1, "ring_share": 1, "room_share": 1}
    changed = []
    for names in (("clicks", "music"), ALL):
        off, on = (epoch_of(windows_of(opened(*names), settings, **of), batch_size=16)[0] for of in ({}, asked))
        changed.append(float((on - off).abs().max()))
    assert changed[0] < 1e-5
    assert changed[1] > 0.01


@pytest.mark.parametrize("standardise", ["all", "bands"])
def test_a_checkpoint_scores_what_its_training_told(folder, standardise):
    """Whatever is between training and use: a network that hears otherwise than it was validated has another loss."""
    settings = replace(MIXED, standardise=standardise, max_epochs=2)
    *_, epoch = train(TrainingConfig(ALL, "crnn", SMALL["crnn"], settings), folder, device="cpu")
    task = find_task("drum_onsets")
    data = TrainingData.open(ALL, folder, task.targets)
    windows = place(data.validation, CPU, 1.0, data.splits)
    found, _ = validate(epoch.checkpoint.network(), task, windows, data.classes, settings, MemoryGuard(4))
    for name, of in found.items():
        assert of == pytest.approx(epoch.metrics[name], rel=1e-5)


def test_what_can_be_heard_is_judged_by_the_sounds_that_are_in_the_mix(opened, monkeypatch):
    """Darkened as they are: together they are the mix, between the root of their summed powers and their sum."""
    given = []
    monkeypatch.setattr(studio, "audible", lambda stems, mix, halves, *_: given.append((stems, mix)) or halves)
    changes = {"equaliser_db": 12, "audible_rise": 0.1}
    epoch_of(windows_of(opened("clicks", "clicks_stems"), replace(OFF, epoch_windows=24), **changes), batch_size=24)
    ((stems, mix),) = given
    assert (mix <= stems.sum(dim=1) * 1.001 + 1e-4).all()
    assert (mix >= stems.square().sum(dim=1).sqrt() * 0.999 - 1e-4).all()


def test_half_of_the_windows_are_not_stretched(opened, monkeypatch):
    speeds = []
    monkeypatch.setattr(mixing, "stretched", lambda frames, at: speeds.append(at[:, 1]) or stretched(frames, at))
    epoch_of(windows_of(opened(*ALL), replace(OFF, epoch_windows=400), stretch=0.1), batch_size=100)
    found = torch.cat(speeds)
    assert 0.4 < float((found == 1).float().mean()) < 0.6
    assert float(found.min()) < 0.95
    assert float(found.max()) > 1.05
