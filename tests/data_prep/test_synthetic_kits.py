"""What synthesised kits promise, on a dozen of them."""

from collections import Counter

import numpy as np
import pytest

from data_prep.classes import DRUM_CLASSES
from data_prep.kit_splits import draw_kit, drawn_kit, kits_by_split
from data_prep.kits import default_kits, load_kit
from data_prep.pieces import PIECE_CLASS, PIECES, PITCHES, piece_for
from data_prep.rates import SAMPLE_RATE_HZ
from data_prep.samples import LEAD_IN_SAMPLES
from data_prep.synthetic_kits import NAMES, load_synthetic_kit

TOMS = ("floor_tom", "mid_tom", "high_tom")
MOST_SAMPLES = 1_500_000  # 6 MB
ATTACK_SAMPLES = round(0.001 * SAMPLE_RATE_HZ)


@pytest.fixture(scope="module")
def kits():
    return [
        load_synthetic_kit(name) for split, count in (("train", 9), ("validation", 3)) for name in NAMES[split][:count]
    ]


def layers(kit):
    return [layer.samples for voices in kit.pieces.values() for voice in voices for layer in voice.layers]


def centroid_hz(samples):
    magnitudes = np.abs(np.fft.rfft(samples[:8192], 8192))
    return float((magnitudes * np.fft.rfftfreq(8192, 1 / SAMPLE_RATE_HZ)).sum() / magnitudes.sum())


def hardest(kit, piece):
    return kit.pieces[piece][0].layers[-1].samples


def softest(kit, piece):
    return kit.pieces[piece][0].layers[0].samples


def test_a_name_always_gives_the_same_kit(kits):
    again = load_synthetic_kit(kits[0].name)
    assert list(again.pieces) == list(kits[0].pieces)
    assert [x.tobytes() for x in layers(again)] == [x.tobytes() for x in layers(kits[0])]
    assert [v[0].curve for v in again.pieces.values()] == [v[0].curve for v in kits[0].pieces.values()]


def test_no_two_recordings_are_alike(kits):
    contents = [samples.tobytes() for kit in kits for samples in layers(kit)]
    assert len(contents) == len(set(contents))
    # nor is one kick another in disguise
    kicks = np.array([hardest(kit, "kick")[:2205] for kit in kits])
    kicks /= np.linalg.norm(kicks, axis=1, keepdims=True)
    alike = np.abs(kicks @ kicks.T)[np.triu_indices(len(kits), 1)]
    assert np.median(alike) < 0.6


def test_all_classes_sound_and_stay_within_bounds(kits):
    for kit in kits:
        assert {PIECE_CLASS[piece] for piece in kit.pieces} == set(DRUM_CLASSES)
        assert set(PIECES) - set(kit.pieces) == {"splash", "china"}  # no pitch asks for these first
        assert all(piece_for(pitch, kit.pieces) for pitch in PITCHES)
        assert sum(map(len, layers(kit))) < MOST_SAMPLES
        for samples in layers(kit):
            assert samples.dtype == np.float32
            assert np.isfinite(samples).all()
            assert 0.01 < np.abs(samples).max() <= 0.75


def test_every_hit_begins_at_its_attack(kits):
    for kit in kits:
        for samples in layers(kit):
            level = np.abs(samples) / np.abs(samples[: SAMPLE_RATE_HZ // 4]).max()
            assert 0 <= int(np.argmax(level > 0.05)) - LEAD_IN_SAMPLES <= ATTACK_SAMPLES
            assert level[-1] < 0.02


def test_classes_keep_their_order_of_brightness(kits):
    rows = []
    for kit in kits:
        toms = float(np.mean([centroid_hz(hardest(kit, piece)) for piece in TOMS]))
        rows.append([*(centroid_hz(hardest(kit, piece)) for piece in ("kick", "snare", "closed_hat")), toms])
    kick, snare, hat, toms = np.median(rows, axis=0)
    assert kick < toms < snare < hat
    assert hat > 2 * snare


def test_hats_and_rides_are_quieter_than_the_drums(kits):
    def peak(kit, piece):
        return np.abs(hardest(kit, piece)).max()

    for kit in kits:
        drums = max(peak(kit, "kick"), peak(kit, "snare"))
        assert all(peak(kit, piece) < 0.8 * drums for piece in ("closed_hat", "pedal_hat", "ride", "ride_bell"))


@pytest.mark.parametrize("piece", ["kick", "snare", "high_tom", "closed_hat", "crash_1", "ride"])
def test_soft_hits_are_duller_and_quieter(kits, piece):
    dull = [centroid_hz(softest(kit, piece)) / centroid_hz(hardest(kit, piece)) for kit in kits]
    assert np.median(dull) < 0.97
    for kit in kits:
        (voice,) = kit.pieces[piece]
        spans = sorted({(layer.low, layer.high) for layer in voice.layers})
        assert len(spans) == 3
        assert [low for low, _ in spans] == [1, spans[0][1] + 1, spans[1][1] + 1]
        assert spans[-1][1] == 127
        assert voice.curve > 0
        soft, hard = voice.layers[0], voice.layers[-1]
        played = np.abs(soft.samples).max() * (soft.high / 127) ** voice.curve
        assert played < 0.75 * np.abs(hard.samples).max()


def test_pieces_that_are_struck_often_have_takes(kits):
    for kit in kits:
        for piece in ("kick", "snare", "closed_hat", "open_hat", "ride"):
            spans = Counter((layer.low, layer.high) for layer in kit.pieces[piece][0].layers)
            assert min(spans.values()) >= 2


def test_kits_vary_widely():
    def decay_s(samples):
        """Seconds until nothing is louder than a tenth of the peak."""
        level = np.abs(samples)
        return float(np.flatnonzero(level > 0.1 * level.max())[-1]) / SAMPLE_RATE_HZ

    kits = [load_synthetic_kit(f"wide {number}") for number in range(16)]
    for piece, ratio in (("kick", 4), ("snare", 3), ("closed_hat", 3), ("floor_tom", 2)):
        decays_s = [decay_s(hardest(kit, piece)) for kit in kits]
        assert max(decays_s) > ratio * min(decays_s)
    for piece in ("snare", "closed_hat", "ride"):
        centroids_hz = [centroid_hz(hardest(kit, piece)) for kit in kits]
        assert max(centroids_hz) > 1.4 * min(centroids_hz)


def test_default_training_draws_mostly_synthetic_kits_and_tests_never():
    rng = np.random.default_rng(0)
    for split, share in (("train", 0.8), ("validation", 0.5), ("test", 0.0)):
        refs = kits_by_split()[split]
        drawn = Counter(draw_kit(refs, rng).kind for _ in range(2000))
        assert drawn["synthetic"] / 2000 == pytest.approx(share, abs=0.05)
    assert not set(NAMES["train"]) & set(NAMES["validation"])


def test_some_draws_combine_kits_of_the_split():
    refs = [*kits_by_split()["train"][:2], *(ref for ref in default_kits() if ref.name in NAMES["train"][:2])]
    own = {samples.tobytes() for ref in refs for samples in layers(load_kit(ref))}
    rng = np.random.default_rng(0)
    drawn = [drawn_kit(refs, rng) for _ in range(60)]
    combined = [kit for kit in drawn if " + " in kit.name]
    assert 6 < len(combined) < 30
    for kit in combined[:5]:
        assert {PIECE_CLASS[piece] for piece in kit.pieces} == set(DRUM_CLASSES)
        assert {samples.tobytes() for samples in layers(kit)} <= own
    again = np.random.default_rng(0)
    assert [drawn_kit(refs, again).name for _ in range(60)] == [kit.name for kit in drawn]
