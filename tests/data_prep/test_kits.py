import pickle
from collections import Counter
from pathlib import Path

import kit_making as making
import numpy as np
import pytest
import soundfile
from kit_making import Preset, Sound, span
from scipy.signal import fftconvolve

from data_prep.classes import DRUM_CLASSES, class_map
from data_prep.default_kits import RECORDINGS, default_sound_font, recordings_of
from data_prep.kit_splits import SPLITS, draw_kit, kits_by_split, recordings, split_kits
from data_prep.kits import KitRef, default_kits, family_of, find_kits, load_kit
from data_prep.pieces import FALLBACKS, PIECE_CLASS, PIECES, PITCHES, piece_for
from data_prep.refused import Refused
from data_prep.sound_fonts import open_sound_font
from data_prep.synthetic_kits import COUNTS

SHARED_KITS = Path(__file__).parents[3] / "shared" / "data" / "kits"


def layers(kit):
    return [layer.samples for voices in kit.pieces.values() for voice in voices for layer in voice.layers]


def few(refs):
    """The refs, of synthetic ones but the first three of each family."""
    seen = Counter()
    return [ref for ref in refs if ref.kind != "synthetic" or (seen.update([ref.family]) or seen[ref.family] <= 3)]


def contents(refs):
    return {samples.tobytes() for ref in few(refs) for samples in layers(load_kit(ref))}


def checksums(refs):
    return {checksum for ref in refs for checksum in recordings(ref)}


def assert_disjoint(splits):
    for a, b in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not {ref.family for ref in splits[a]} & {ref.family for ref in splits[b]}
        assert not checksums(splits[a]) & checksums(splits[b])
        assert not contents(splits[a]) & contents(splits[b])


def test_the_pieces_agree_with_the_class_maps():
    assert set(PIECE_CLASS.values()) == set(DRUM_CLASSES)
    for name in ("roland", "general_midi"):
        for pitch, index in class_map(name).items():
            if index is not None:
                assert PIECE_CLASS[PITCHES[int(pitch)]] == DRUM_CLASSES[index]


@pytest.mark.parametrize(
    ("pitch", "piece"), [(22, "closed_hat"), (26, "open_hat"), (58, "floor_tom"), (55, "crash_1"), (52, "crash_2")]
)
def test_roland_pitches(pitch, piece):
    assert piece_for(pitch, PIECES) == piece


def test_fallbacks_stay_in_their_class():
    for piece, others in FALLBACKS.items():
        assert {PIECE_CLASS[other] for other in others} <= {PIECE_CLASS[piece]}
    assert piece_for(46, {"kick", "closed_hat"}) == "closed_hat"
    assert piece_for(46, {"kick", "ride"}) is None
    assert piece_for(99, PIECES) is None


def test_default_kits_fill_all_splits_and_cover_all_classes():
    splits = split_kits(default_kits())
    recorded = {split: sum(ref.kind == "default" for ref in refs) for split, refs in splits.items()}
    assert recorded == {"train": 3, "validation": 1, "test": 3}
    assert {split: len(refs) - recorded[split] for split, refs in splits.items()} == {**COUNTS, "test": 0}
    for refs in splits.values():
        for ref in few(refs):
            kit = load_kit(ref)
            assert {PIECE_CLASS[piece] for piece in kit.pieces} == set(DRUM_CLASSES)
            for samples in layers(kit):
                assert samples.dtype == np.float32
                assert np.isfinite(samples).all()
                assert np.abs(samples).max() > 0.02


def test_no_recording_of_the_default_kits_crosses_splits():
    assert_disjoint(split_kits(default_kits()))
    names = [name for split in RECORDINGS.values() for name in split]
    assert len(names) == len(set(names))


def test_every_pitch_of_a_drum_class_sounds_on_every_default_kit():
    spare = {"clap", "tambourine", "cowbell"}  # have no neighbour: on a kit without them note and label go together
    for ref in few(default_kits()):
        kit = load_kit(ref)
        silent = {PITCHES[pitch] for pitch in PITCHES if piece_for(pitch, kit.pieces) is None}
        assert silent <= spare


def test_found_kits_are_split_by_recording(tmp_path):
    for seed in range(5):
        making.hydrogen_kit(tmp_path / f"Kit {seed}", seed)
    making.hydrogen_kit(tmp_path / "copies" / "Kit 0 again", 0)
    making.sound_font(tmp_path / "font.sf2", [making.drum_preset(50), making.drum_preset(50, 8, "Room")])
    refs = find_kits([tmp_path])
    assert len(refs) == 8
    assert pickle.loads(pickle.dumps(refs)) == refs
    splits = split_kits(refs)
    assert all(splits.values())
    assert sum(map(len, splits.values())) == 8
    assert_disjoint(splits)
    assert split_kits(refs[::-1]) == splits
    together = [{ref.name for ref in found} for found in splits.values()]
    assert any({"Kit 0", "Kit 0 again"} <= names for names in together)
    assert any({"font Standard", "font Room"} <= names for names in together)


def test_known_kits_keep_their_split(tmp_path):
    for seed, name in enumerate(["GMRockKit", "ColomboAcousticDrumkit", "MuldjordKit-mono", "becks", "Mine"]):
        making.hydrogen_kit(tmp_path / name, seed)
    splits = split_kits(find_kits([tmp_path]))
    assert "GMRockKit" in {ref.name for ref in splits["train"]}
    assert "ColomboAcousticDrumkit" in {ref.name for ref in splits["validation"]}
    assert {"MuldjordKit-mono", "becks"} <= {ref.name for ref in splits["test"]}


def test_an_unknown_kit_joins_the_known_one_it_copies_and_a_kit_of_two_splits_is_left_out(tmp_path):
    making.hydrogen_kit(tmp_path / "MuldjordKit", 1)
    making.hydrogen_kit(tmp_path / "GMRockKit", 2)
    making.hydrogen_kit(tmp_path / "Renamed", 1)
    making.hydrogen_kit(tmp_path / "Both", 1)
    (tmp_path / "Both" / "0-0.wav").write_bytes((tmp_path / "GMRockKit" / "0-0.wav").read_bytes())
    splits = split_kits(find_kits([tmp_path]))
    assert {ref.name for ref in splits["test"]} == {"MuldjordKit", "Renamed"}
    assert {ref.name for ref in splits["train"]} == {"GMRockKit"}


def test_default_kits_fill_only_what_folders_leave_empty(tmp_path):
    making.hydrogen_kit(tmp_path / "GMRockKit", 1)
    splits = kits_by_split([tmp_path])
    assert {split: {ref.kind for ref in splits[split]} for split in SPLITS} == {
        "train": {"hydrogen"},
        "validation": {"default", "synthetic"},
        "test": {"default"},
    }
    assert_disjoint(splits)
    assert kits_by_split() == split_kits(default_kits())


def test_left_out_kits_and_what_is_no_drum_kit(tmp_path):
    making.hydrogen_kit(tmp_path / "rumpf_kit_z01", 1)
    making.hydrogen_kit(tmp_path / "hands", 2, names=("Cowbell", "Hand Clap"))
    effects = Preset(128, 56, making.drum_preset(3).sounds, "SFX")
    making.sound_font(
        tmp_path / "a.sf2", [effects, Preset(0, 3, [Sound(making.tone(440), [(43, span(0, 127))])], "Piano")]
    )
    with pytest.raises(Refused, match="holds no usable drum kit"):
        find_kits([tmp_path])


def test_a_broken_kit_among_others_is_passed_over(tmp_path, caplog):
    making.hydrogen_kit(tmp_path / "good", 1)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "drumkit.xml").write_text("<drum")
    (tmp_path / "broken.sf2").write_text("nothing")
    assert [ref.name for ref in find_kits([tmp_path])] == ["good"]
    assert "cannot be read as a Hydrogen drumkit" in caplog.text


def test_missing_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(Refused, match="no folder of drum kits at"):
        find_kits([tmp_path / "none"])
    with pytest.raises(Refused, match="holds no usable drum kit; give folders"):
        find_kits([tmp_path])
    (tmp_path / "drumkit.xml").write_text("<drum")
    with pytest.raises(Refused, match=r"holds no usable drum kit: .*cannot be read as a Hydrogen drumkit"):
        find_kits([tmp_path])


def test_a_kit_whose_kick_is_silent_is_refused(tmp_path):
    making.hydrogen_kit(tmp_path / "kit", 1)
    for layer in range(2):
        soundfile.write(tmp_path / "kit" / f"0-{layer}.wav", np.zeros(1000), 44100)
    (ref,) = find_kits([tmp_path])
    with pytest.raises(Refused, match="has no audible kick, snare or hi-hat"):
        load_kit(ref)


def test_a_font_that_only_has_the_name_of_the_default_one_is_refused(tmp_path):
    path = making.sound_font(tmp_path / "TimGM6mb.sf2", [making.drum_preset(1)])
    (ref, *_) = find_kits([tmp_path])
    assert ref.path == path
    with pytest.raises(Refused, match="lacks the recordings"):
        load_kit(ref)


def test_families_by_name():
    assert family_of("The Black Pearl 1.0") == ("MacArthur", "train")
    assert family_of("Red_Zeppelin_4_LV2") == ("MacArthur", "train")
    assert family_of("MuseScore_General") == ("Fluid", "train")
    assert family_of("Millo_MultiLayered3") == ("Millo", "train")
    assert family_of("My own") == ("My own", None)


def test_families_are_drawn_alike_but_fluid_and_electronic_less():
    def ref(name, family):
        return KitRef(name, family, Path(name), "hydrogen")

    refs = [ref("a", "MacArthur"), ref("b", "MacArthur"), ref("c", "Fluid"), ref("d", "electronic")]
    rng = np.random.default_rng(0)
    drawn = Counter(draw_kit(refs, rng).family for _ in range(3000))
    assert drawn["Fluid"] / 3000 == pytest.approx(1 / 3, abs=0.03)
    assert drawn["electronic"] / 3000 == pytest.approx(0.05, abs=0.02)
    assert draw_kit(refs[3:], rng).name == "d"


@pytest.mark.skipif(not SHARED_KITS.is_dir(), reason="the shared kits are not beside this repository")
def test_the_shared_kits_are_for_test():
    refs = find_kits([SHARED_KITS])
    assert {ref.split for ref in refs} == {"test"}
    for ref in refs:
        assert {PIECE_CLASS[piece] for piece in load_kit(ref).pieces} == set(DRUM_CLASSES)


def test_no_recording_of_the_default_kits_is_one_of_another_split_in_disguise():
    font = open_sound_font(default_sound_font())
    by_split = {split: [font.recording(i)[:3000] for i in sorted(recordings_of(font.path, split))] for split in SPLITS}
    for a, b in (("train", "validation"), ("train", "test"), ("validation", "test")):
        for x in by_split[a]:
            for y in by_split[b]:
                alike = np.abs(fftconvolve(x, y[::-1])).max() / np.sqrt(np.dot(x, x) * np.dot(y, y))
                assert alike < (0.6 if min(len(x), len(y)) > 200 else 1.0)
