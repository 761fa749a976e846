import kit_making as making
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.grooves import STYLES, generate_groove
from data_prep.kit_splits import kits_by_split
from data_prep.kits import default_kits, find_kits, load_kit
from data_prep.midi import Notes
from data_prep.pieces import PITCHES
from data_prep.rates import SAMPLE_RATE_HZ
from data_prep.refused import Refused
from data_prep.render import render_drums
from data_prep.samples import Kit, Layer, Voice, trim_hit


def click_kit(*pieces, seconds=0.002):
    ringing = np.resize([1.0, -1.0], int(seconds * SAMPLE_RATE_HZ)).astype(np.float32)
    hit = trim_hit(ringing)
    assert hit is not None
    voice = Voice((Layer(1, 127, hit),))
    return Kit("clicks", dict.fromkeys(pieces, (voice,)))


def notes_of(times_s, pitches, velocities=None):
    times_s = np.asarray(times_s, np.float64)
    velocities = np.full(len(times_s), 100) if velocities is None else np.asarray(velocities)
    return Notes(times_s, np.broadcast_to(pitches, len(times_s)).astype(np.int64), velocities.astype(np.int64))


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kits")
    making.hydrogen_kit(folder / "kit", 1)
    return load_kit(find_kits([folder])[0])


def rises(samples, times_s):
    """Where near each time the sound first passes a fifth of what it reaches within 100 ms: seconds after the time."""
    found = []
    for time_s in times_s:
        begin = max(0, int((time_s - 0.03) * SAMPLE_RATE_HZ))
        stretch = np.abs(samples[begin : begin + int(0.13 * SAMPLE_RATE_HZ)])
        found.append((begin + int(np.argmax(stretch > 0.2 * stretch.max()))) / SAMPLE_RATE_HZ - time_s)
    return np.array(found)


@given(
    times_s=st.lists(st.floats(0.05, 3), min_size=1, max_size=8, unique_by=lambda t: round(t * 4)),
    seed=st.integers(0, 99),
)
@settings(max_examples=50, deadline=None)
def test_clicks_sound_at_their_time(times_s, seed):
    times_s = np.sort(times_s)
    times_s = times_s[np.concatenate([[True], np.diff(times_s) > 0.2])]
    rendered = render_drums(notes_of(times_s, 36), click_kit("kick"), seed=seed)
    assert rendered.sounded.all()
    np.testing.assert_allclose(rises(rendered.samples, times_s), 0, atol=0.0005)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_labels_lie_on_the_sound_of_the_default_kits(split):
    offsets_s = []
    refs = kits_by_split()[split]
    recorded = [ref for ref in refs if ref.kind == "default"]
    synthetic = [ref for ref in refs if ref.kind == "synthetic"]
    for ref in (*recorded, *synthetic[:6]):
        for piece in load_kit(ref).pieces:
            pitch = next(p for p, found in PITCHES.items() if found == piece) if piece in PITCHES.values() else None
            if pitch is not None:
                times_s = 0.1 + 1.5 * np.arange(3)
                samples = render_drums(
                    notes_of(times_s, pitch, [40, 80, 120]), load_kit(ref), seed=1, seconds=5.0
                ).samples
                offsets_s.extend(rises(samples, times_s))
    assert abs(np.median(offsets_s)) < 0.002
    assert np.abs(offsets_s).max() < 0.012


@settings(max_examples=20, deadline=None)
@given(style=st.sampled_from(STYLES), seed=st.integers(0, 2**31), kit_number=st.integers(0, 11))
def test_a_render_repeats_bit_for_bit(style, seed, kit_number):
    notes, kit = generate_groove(style, seed=seed, bars=2), load_kit(default_kits()[kit_number])
    a, b = (render_drums(notes, kit, seed=seed) for _ in range(2))
    assert a.samples.tobytes() == b.samples.tobytes()
    np.testing.assert_array_equal(a.sounded, b.sounded)
    assert a.samples.dtype == np.float32
    assert np.abs(a.samples).max() <= 1
    other = render_drums(notes, kit, seed=seed + 1)
    assert other.samples.tobytes() != a.samples.tobytes()


@settings(max_examples=60, deadline=None)
@given(
    pitches=st.lists(st.integers(0, 127), min_size=1, max_size=10), velocity=st.integers(1, 127), seed=st.integers(0, 9)
)
def test_a_note_is_heard_exactly_where_it_is_said_to_sound(kit, pitches, velocity, seed):
    times_s = 0.1 + 0.5 * np.arange(len(pitches))
    rendered = render_drums(notes_of(times_s, pitches, np.full(len(pitches), velocity)), kit, seed=seed, seconds=6.0)
    for time_s, sounded in zip(times_s, rendered.sounded, strict=True):
        begin = int((time_s - 0.002) * SAMPLE_RATE_HZ)
        loudest = np.abs(rendered.samples[begin : begin + 8000]).max()
        assert (loudest > 1e-4) == sounded


def test_the_kit_that_lacks_a_class_loses_note_and_label():
    rendered = render_drums(notes_of([0.1, 0.3, 0.5], [36, 49, 38]), click_kit("kick", "snare"), seed=0)
    assert rendered.sounded.tolist() == [True, False, True]
    assert not np.abs(rendered.samples[int(0.28 * SAMPLE_RATE_HZ) : int(0.45 * SAMPLE_RATE_HZ)]).any()


def test_an_open_hat_ends_at_the_next_hat_event():
    kit = click_kit("open_hat", "closed_hat", "pedal_hat", "ride", seconds=2.0)
    kit = Kit("long", {**kit.pieces, "closed_hat": click_kit("closed_hat").pieces["closed_hat"]})
    rung = render_drums(notes_of([0.1, 0.5], [46, 51]), kit, seed=0).samples
    choked = render_drums(notes_of([0.1, 0.5], [46, 42]), kit, seed=0).samples
    after = slice(int(0.56 * SAMPLE_RATE_HZ), int(0.9 * SAMPLE_RATE_HZ))
    fading = slice(int(0.51 * SAMPLE_RATE_HZ), int(0.52 * SAMPLE_RATE_HZ))
    assert np.abs(rung[after]).max() > 0.1
    assert not np.abs(choked[after]).any()
    assert np.abs(choked[fading]).max() > 0.01


def test_velocity_and_layers(kit):
    def loudness(velocity):
        samples = render_drums(notes_of([0.1], 38, [velocity]), kit, seed=3).samples
        return float(np.abs(samples).max())

    assert loudness(10) < loudness(50) < loudness(90) < loudness(127)


def test_length_and_tail(kit):
    notes = notes_of([0.5, 2.0], 49)
    rung_out = render_drums(notes, kit, seed=0)
    assert 2.05 < len(rung_out.samples) / SAMPLE_RATE_HZ < 3.0
    assert np.abs(rung_out.samples[-200:]).max() < 0.01
    cut = render_drums(notes, kit, seed=0, seconds=1.0)
    assert len(cut.samples) == SAMPLE_RATE_HZ
    assert cut.sounded.tolist() == [True, False]
    assert len(render_drums(notes_of([], 36), kit, seed=0).samples) == 0
    assert not render_drums(notes_of([], 36), kit, seed=0, seconds=0.5).samples.any()


def test_many_loud_hits_stay_within_full_scale():
    rendered = render_drums(notes_of(np.full(50, 0.1), 36, np.full(50, 127)), click_kit("kick"), seed=0)
    assert np.abs(rendered.samples).max() <= 0.99 + 1e-6


def test_bad_times_and_lengths_are_refused(kit):
    for time_s in (-0.1, np.nan, np.inf):
        with pytest.raises(Refused, match="negative or infinite time"):
            render_drums(notes_of([time_s], 36), kit, seed=0)
    for seconds in (-1.0, 1e6):
        with pytest.raises(Refused, match="can be rendered, so cut it"):
            render_drums(notes_of([0.0], 36), kit, seed=0, seconds=seconds)
