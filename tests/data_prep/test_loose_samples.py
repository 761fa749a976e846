import struct
from pathlib import Path

import kit_making as making
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from data_prep.gus_patches import read_patch
from data_prep.kit_splits import drawn_kit, recordings, split_kits
from data_prep.kits import KitRef, find_kits, load_kit
from data_prep.loose_samples import COLLECTIONS, PEAKS, collection_of, load_loose, piece_files
from data_prep.midi import Notes
from data_prep.pieces import FALLBACKS, PIECE_CLASS, TABLE
from data_prep.refused import Refused
from data_prep.render import render_drums
from data_prep.samples import LEAD_IN_SAMPLES, SAMPLE_RATE_HZ

SONIC_PI = (
    *("drum_bass_hard", "drum_bass_soft", "drum_heavy_kick", "drum_snare_hard", "drum_snare_soft", "sn_dub"),
    *("drum_cymbal_closed", "drum_cymbal_open", "drum_cymbal_pedal", "drum_cymbal_hard", "drum_tom_hi_hard"),
)
NO_HITS = ("drum_roll", "loop_amen", "elec_beep", "glitch_perc1", "bd_808")
INSTALLED = ("/usr/share/sonic-pi/samples", "/usr/share/lmms/samples/drums", "/usr/share/exadrums", "/usr/share/midi")


@pytest.fixture
def sonic_pi(tmp_path) -> Path:
    folder = tmp_path / "samples"
    folder.mkdir()
    for seed, name in enumerate((*SONIC_PI, *NO_HITS)):
        hit = making.hit(700 + seed, lead_in_s=0.01, peak=0.9)
        soundfile.write(folder / f"{name}.flac", hit, making.RATE_HZ)
    return folder


def patch(values: np.ndarray, rate_hz: int, flags: int) -> bytes:
    """A patch with one recording: values as they are to be stored."""
    header = struct.pack("<7sBIIIHIII", b"hit", 0, values.nbytes, 0, 0, rate_hz, 0, 0, 0)
    header += bytes(55 - len(header)) + bytes([flags]) + bytes(40)
    return b"GF1PATCH110\0".ljust(239, b"\0") + header + values.tobytes()


def of_class(kit, name):
    return {
        layer.samples.tobytes()
        for piece, voices in kit.pieces.items()
        if PIECE_CLASS[piece] == name
        for voice in voices
        for layer in voice.layers
    }


def sounds(kit):
    return {sound for name in PEAKS for sound in of_class(kit, name)}


def test_the_collections_are_families_of_training_and_have_known_pieces():
    split_of = {row["family"]: row["split"] for row in TABLE["families"]}
    for collection in COLLECTIONS:
        assert split_of[collection.name] == "train"
        assert set(collection.pieces) <= set(FALLBACKS)
        assert {PIECE_CLASS[piece] for piece in collection.pieces} >= {"kick", "snare", "hi-hat", "cymbals"}
    assert len({collection.known_by for collection in COLLECTIONS}) == len(COLLECTIONS)


def test_a_folder_of_loose_recordings_is_a_kit_for_training(sonic_pi):
    for place in (sonic_pi, sonic_pi.parent):
        (ref,) = find_kits([place])
        assert ref == KitRef("sonic-pi", "sonic-pi", sonic_pi.resolve(), "samples", split="train")
    assert split_kits([ref]) == {"train": (ref,), "validation": (), "test": ()}
    assert len(recordings(ref)) == len(SONIC_PI)
    kit = load_kit(ref)
    assert {piece: len(voices) for piece, voices in kit.pieces.items()} == {
        **{"kick": 2, "snare": 2, "high_tom": 1, "closed_hat": 1, "pedal_hat": 1, "open_hat": 1, "crash_1": 1}
    }
    soft_and_hard = kit.pieces["kick"][0].layers
    assert sorted((layer.low, layer.high) for layer in soft_and_hard) == [(1, 80), (81, 127)]


def test_loose_recordings_begin_at_their_attack_and_have_the_level_of_their_class(sonic_pi):
    for piece, voices in load_kit(find_kits([sonic_pi])[0]).pieces.items():
        for voice in voices:
            for layer in voice.layers:
                peak = np.abs(layer.samples).max()
                relative = PEAKS[PIECE_CLASS[piece]] / max(PEAKS.values())
                assert peak == pytest.approx(0.5 * relative, rel=0.02)
                assert np.argmax(np.abs(layer.samples) > 0.05 * peak) == pytest.approx(LEAD_IN_SAMPLES, abs=2)


def test_a_kit_that_copies_a_collection_is_of_its_family(sonic_pi):
    copy = making.hydrogen_kit(sonic_pi.parent / "Mine", 3)
    (copy / "0-0.wav").write_bytes((sonic_pi / "drum_bass_hard.flac").read_bytes())
    assert [ref.family for ref in split_kits(find_kits([sonic_pi.parent]))["train"]] == ["sonic-pi", "sonic-pi"]


def test_a_collection_without_its_snare_is_no_kit(sonic_pi):
    for path in [*sonic_pi.glob("drum_snare*"), *sonic_pi.glob("sn_*")]:
        path.unlink()
    with pytest.raises(Refused, match="holds no usable drum kit"):
        find_kits([sonic_pi])


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(Refused, match=r"is none of the collections sonic-pi, .*check the path"):
        load_loose(tmp_path)


def test_an_unreadable_recording_is_refused(sonic_pi):
    (sonic_pi / "sn_dub.flac").write_bytes(b"nothing")
    with pytest.raises(Refused, match=r"sn_dub\.flac cannot be decoded"):
        load_kit(find_kits([sonic_pi])[0])


def test_fonts_that_copy_the_default_one_are_left_out(tmp_path):
    making.sound_font(tmp_path / "sf_GMbank.sf2", [making.drum_preset(1)])
    with pytest.raises(Refused, match="holds no usable drum kit"):
        find_kits([tmp_path])


def test_loose_recordings_are_always_combined_and_what_they_lack_is_filled(sonic_pi):
    making.hydrogen_kit(sonic_pi.parent / "GMRockKit", 1)
    refs = split_kits(find_kits([sonic_pi.parent]))["train"]
    rng = np.random.default_rng(0)
    drawn = [drawn_kit(refs, rng, 0.0) for _ in range(400)]
    assert (
        {"GMRockKit", "sonic-pi + GMRockKit"}
        <= {kit.name for kit in drawn}
        <= {*("GMRockKit", "sonic-pi", "sonic-pi + GMRockKit")}
    )
    assert all({"ride", "open_hat"} <= set(kit.pieces) for kit in drawn if "GMRockKit" in kit.name)


@pytest.mark.parametrize("families", [2, 5, 7])
def test_apart_each_class_is_of_a_family_of_its_own(tmp_path, families):
    for seed in range(families):
        making.hydrogen_kit(tmp_path / f"Kit {seed}", seed)
    refs = find_kits([tmp_path])
    own = {ref.name: sounds(load_kit(ref)) for ref in refs}
    rng = np.random.default_rng(1)
    kits = [drawn_kit(refs, rng, 1.0, apart=True) for _ in range(30)]
    for kit in kits:
        assert len(kit.name.split(" + ")) == min(5, families)
        sources = {name: {n for n, have in own.items() if of_class(kit, name) & have} for name in PEAKS}
        assert all(len(found) == 1 for found in sources.values())
        assert len(set.union(*sources.values())) == min(5, families)
    again = np.random.default_rng(1)
    assert [drawn_kit(refs, again, 1.0, apart=True).name for _ in range(30)] == [kit.name for kit in kits]
    assert " + " not in drawn_kit(refs, rng, 0.0, apart=True).name


@given(
    st.lists(st.integers(-128, 127), min_size=1, max_size=200),
    st.sampled_from([("<i2", 1), ("<u2", 3), ("<i1", 0), ("<u1", 2)]),
    st.integers(1, 65535),
)
def test_patches_are_read_as_written(tmp_path_factory, values, kind, rate_hz):
    dtype, flags = kind
    path = tmp_path_factory.mktemp("patch") / "a.pat"
    full_scale = 128 * (256 if flags & 1 else 1)
    signed = np.array(values) * full_scale // 128
    path.write_bytes(patch((signed + (full_scale if flags & 2 else 0)).astype(dtype), rate_hz, flags))
    read = read_patch(path)
    assert read.rate_hz == rate_hz
    np.testing.assert_allclose(read.samples, np.array(values) / 128, atol=1e-6)


def test_broken_patches_are_refused(tmp_path):
    path = tmp_path / "a.pat"
    whole = patch(np.zeros(100, "<i2"), 44100, 1)
    for content, said in (
        (b"RIFF" + whole, "is no Gravis patch"),
        (whole[:100], "is no"),
        (whole[:400], "holds 65 of"),
    ):
        path.write_bytes(content)
        with pytest.raises(Refused, match=said):
            read_patch(path)
    with pytest.raises(Refused, match="no patch at"):
        read_patch(tmp_path / "none.pat")


@pytest.mark.parametrize("place", INSTALLED)
def test_installed_collections_sound_like_what_they_are_called(place):
    if not Path(place).is_dir():
        pytest.skip("not installed")
    (ref,) = find_kits([Path(place)])
    assert ref.kind == "samples"
    collection = collection_of({path.name for path in ref.path.iterdir()})
    assert collection is not None
    assert set(piece_files(collection, ref.path)) == set(collection.pieces)
    kit = load_kit(ref)
    for low, high in (("kick", "snare"), ("snare", "closed_hat"), ("kick", "crash_1")):
        assert centroid_hz(kit, low) < centroid_hz(kit, high)
    rendered = render_drums(Notes(np.array([0.5]), np.array([36]), np.array([110])), kit, seed=2, seconds=1.0)
    attack = round(0.5 * SAMPLE_RATE_HZ)
    assert np.abs(rendered.samples[: attack - LEAD_IN_SAMPLES - 1]).max() == 0
    assert np.abs(rendered.samples[attack : attack + 2205]).max() > 0.1


def centroid_hz(kit, piece):
    spectra = [np.abs(np.fft.rfft(voice.layers[-1].samples[:8192], 8192)) ** 2 for voice in kit.pieces[piece]]
    hz = np.fft.rfftfreq(8192, 1 / SAMPLE_RATE_HZ)
    return np.median([(spectrum * hz).sum() / spectrum.sum() for spectrum in spectra])
