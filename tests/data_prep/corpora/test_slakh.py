"""Slakh: its metadata, its kits, its drum stems; what is damaged is said and harms nothing."""

import time

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from miniature import GENERAL_MIDI, POP_KIT, hits, slakh_stem, write_midi, write_slakh, write_slakh_track

from data_prep.classes import VOCABULARIES, class_map, kits
from data_prep.corpora import CORPORA, PrepOptions
from data_prep.corpora.slakh_metadata import Stem, read_metadata
from data_prep.job import plan, prepare
from data_prep.options import heeded_options
from data_prep.refused import Refused

ONE = PrepOptions(workers=1)


def track_of(folder, stems, midi=()):
    """A folder of Slakh with one track."""
    track = folder / "train" / "Track00001"
    write_slakh_track(track, hits(0)[0], stems)
    for stem, played, pitches in midi:
        write_midi(track / "MIDI" / f"{stem}.mid", played, pitches)
    return track


def the_reason(source):
    """Why the only track cannot be used."""
    (track,) = CORPORA["slakh"].tracks(source, ONE)
    with pytest.raises(Refused) as refused:
        track.recording.read()
    return str(refused.value)


def test_pitches_of_known_kits_are_corrected_unless_asked_not_to(tmp_path):
    _, played = hits(0)
    track_of(tmp_path, {"S00": slakh_stem(True, "pop_kit.nkm")}, [("S00", played, POP_KIT)])
    corrected, literal = (
        next(CORPORA["slakh"].tracks(tmp_path, PrepOptions(kit_maps=kit_maps))).recording.annotate()
        for kit_maps in (True, False)
    )
    heard = np.bincount(corrected.onsets.classes, minlength=5)
    as_written = np.bincount(literal.onsets.classes, minlength=5)
    toms, bells, crashes = (sum(hit == name for _, hit in played) for name in ("tom", "bell", "crash"))
    assert heard[2] == toms
    assert as_written[2] == 0  # 52, the kit's high tom, is a china cymbal in General MIDI
    assert as_written[3] == heard[3] + bells  # 54 a tambourine, not the ride's bell
    assert heard[4] + toms - bells - crashes == as_written[4]  # 58 a vibraslap, not a splash


def test_the_manifest_says_whether_pitches_were_corrected(tmp_path):
    write_slakh(tmp_path)
    for kit_maps in (True, False):
        options = PrepOptions(workers=1, kit_maps=kit_maps, unknown_labels=0.05)  # 95 is a stray without the map
        manifest = prepare("slakh", source=tmp_path, shards=tmp_path / f"shards-{kit_maps}", options=options)
        assert manifest.options["kit_maps"] is kit_maps
        assert heeded_options(CORPORA["slakh"], options)["kit_maps"] is kit_maps


def test_pitches_that_play_a_sequence_are_left_out_and_counted(tmp_path):
    _, played = hits(0)
    kit = {**POP_KIT, "kick": 60, "snare": 71}
    track_of(tmp_path, {"S00": slakh_stem(True, "pop_kit.nkm")}, [("S00", played, kit)])
    annotated = next(CORPORA["slakh"].tracks(tmp_path, ONE)).recording.annotate()
    sequences = sum(hit in ("kick", "snare") for _, hit in played)
    assert annotated.left_out == {"notes that play a whole sequence on their kit": sequences}
    assert not annotated.unknown
    assert len(annotated.onsets) == len(played) - sequences


def test_strays_of_lakh_are_unknown_labels(tmp_path):
    _, played = hits(0)
    played = [(time_s, "snare") for time_s, _ in played]
    stems = {"S00": slakh_stem(True, "some_kit.nkm")}
    track = track_of(tmp_path, stems, [("S00", [*played, (3.9, "kick")], {"snare": 38, "kick": 9})])
    annotated = next(CORPORA["slakh"].tracks(tmp_path, ONE)).recording.annotate()
    assert annotated.unknown == {"9": 1}
    assert len(annotated.onsets) == len(played)
    write_midi(track / "MIDI" / "S00.mid", [*played[:4], (3.9, "kick")], {"snare": 38, "kick": 9})
    assert "1 of 5 labels outside the general_midi vocabulary: 9 (1)" in the_reason(tmp_path)


def test_all_drum_stems_are_added_each_with_its_kit_and_silent_ones_are_not(tmp_path):
    _, played = hits(0)
    stems = {
        "S00": slakh_stem(True, "pop_kit.nkm"),
        "S01": slakh_stem(False, "pop_kit.nkm"),
        "S02": slakh_stem(True, "some_kit.nkm"),
        "S03": slakh_stem(True, "None", audio_rendered=False, midi_saved=False),
    }
    track_of(tmp_path, stems, [("S00", played[::2], POP_KIT), ("S02", played[1::2], GENERAL_MIDI)])
    (track,) = CORPORA["slakh"].tracks(tmp_path, ONE)
    assert [path.name for path in track.recording.sources] == ["mix.flac", "S00.mid", "S02.mid"]
    expected = [VOCABULARIES[5][index] for index in track.recording.annotate().onsets.classes]
    names = dict(zip(POP_KIT, ("kick", "snare", "toms", "hi-hat", "cymbals", "cymbals", "cymbals"), strict=True))
    assert expected == [names[hit] for _, hit in played]


def test_tracks_without_drums_are_listed_with_the_reason(tmp_path):
    track_of(tmp_path, {"S00": slakh_stem(False, "elektrik_guitar.nkm")})
    assert "Track00001 has no stem with `is_drum: true`" in the_reason(tmp_path)


def test_drums_that_are_heard_but_not_annotated_lose_the_track(tmp_path):
    track_of(tmp_path, {"S04": slakh_stem(True, "pop_kit.nkm", midi_saved=False)})
    assert "has drums without MIDI, stem S04" in the_reason(tmp_path)


def test_one_song_in_two_splits_is_refused(tmp_path):
    write_slakh(tmp_path)
    (tmp_path / "test" / "Track01501" / "metadata.yaml").write_text(
        (tmp_path / "train" / "Track00001" / "metadata.yaml").read_text()
    )
    with pytest.raises(Refused, match="stands in train and in test"):
        plan("slakh", tmp_path, ONE)


def test_one_track_in_two_splits_is_refused(tmp_path):
    track = track_of(tmp_path, {})
    (tmp_path / "test" / track.name).mkdir(parents=True)
    with pytest.raises(Refused, match="Track00001 stands in train, too; expected a track in one split"):
        list(CORPORA["slakh"].tracks(tmp_path, ONE))


NESTED = 20_000
BOMB = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "has no `stems`"),
        (b"stems: 3\n", "has no `stems`"),
        (b"stems: {S00: drums}\n", "has no `stems`"),
        (b"[1, 2]\n", "has no `stems`"),
        (b"just words\n", "has no `stems`"),
        (b"stems: {S00: {plugin_name: x}}\n", "says is_drum: 'none' of stem 'S00', not true or false"),
        (b"stems: {S00: {is_drum: perhaps}}\n", "says is_drum: 'perhaps' of stem 'S00', not true or false"),
        (b"stems: {'../../../etc/x': {is_drum: true}}\n", "names a stem '../../../etc/x'"),
        (b"stems: {[a]: {is_drum: true}}\n", "has a key that is no word"),
        (b"stems: [}\n", "is no YAML"),
        (b"\xff\xfe\xff\xff\x00", "is no YAML"),
        (b"stems: \xe9\n", "is no YAML"),
        (b"a: \x00\n", "is no YAML"),
        (BOMB.encode(), "holds aliases"),
        (b"[" * NESTED, "is nested more than 8 deep"),
        (b"[" * NESTED + b"]" * NESTED, "is nested more than 8 deep"),
        (b"- " * NESTED, "is nested more than 8 deep"),
        (b"{a: " * NESTED, "is nested more than 8 deep"),
        (b"? " * NESTED, "has a key that is no word"),
        (b"!!python/object/apply:os.system [echo]\n", "has no `stems`"),
        (b"x" * 300_000, "holds 300,000 bytes, and at most 262,144 are read"),
    ],
)
def test_damaged_metadata_lose_the_track_with_one_sentence(tmp_path, content, reason):
    track = track_of(tmp_path, {})
    (track / "metadata.yaml").write_bytes(content)
    began = time.process_time()
    said = the_reason(tmp_path)
    assert time.process_time() - began < 2
    assert said.startswith(f"{track / 'metadata.yaml'} {reason}")
    assert said.endswith("expected the metadata of a Slakh track, as published: restore it")
    assert "\n" not in said


VALID = yaml.safe_dump({"UUID": "ab", "stems": {"S00": slakh_stem(True, "funk_kit.nkm")}}, default_flow_style=False)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.text("[]{}:,-?&*!|>'\"%@` \n\tabtruefals", max_size=200).map(str.encode),
        st.tuples(st.integers(0, len(VALID)), st.binary(max_size=3), st.integers(0, 9)).map(
            lambda change: VALID.encode()[: change[0]] + change[1] + VALID.encode()[change[0] + change[2] :]
        ),
    )
)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused(tmp_path, content):
    (tmp_path / "metadata.yaml").write_bytes(content)
    said = ""
    try:
        assert isinstance(read_metadata(tmp_path / "metadata.yaml").drums, tuple)
    except Refused as refused:
        said = str(refused)
    assert "\n" not in said


def test_missing_metadata_lose_the_track(tmp_path):
    track = track_of(tmp_path, {})
    (track / "metadata.yaml").unlink()
    assert "no metadata at" in the_reason(tmp_path)


def test_metadata_are_read_as_they_are_published(tmp_path):
    stems = {"S00": slakh_stem(True, "funk_kit.nkm"), "S01": slakh_stem(True, "x.nkm", midi_saved=False)}
    for flow in (True, False):
        (tmp_path / "metadata.yaml").write_text(yaml.safe_dump({"UUID": "ab", "stems": stems}, default_flow_style=flow))
        metadata = read_metadata(tmp_path / "metadata.yaml")
        assert metadata.uuid == "ab"
        assert metadata.drums == (Stem("S00", True, "funk_kit.nkm"), Stem("S01", False, "x.nkm"))


def test_kits_say_only_what_differs_from_general_midi():
    assert len(kits()) == 8
    for name, kit in kits().items():
        for pitch in kit.sounds:
            differs = [
                class_map("general_midi", classes, name)[pitch]
                != class_map("general_midi", classes).get(pitch, "unknown")
                for classes in VOCABULARIES
            ]
            assert any(differs), f"{name} {pitch}"
        assert not set(kit.sounds) & kit.sequences
    assert kits()["stadium_kit_full.nkm"] == kits()["garage_kit_lite.nkm"]


def test_a_kit_that_nobody_knows_is_general_midi():
    assert dict(class_map("general_midi", 5, "unheard_of.nkm")) == dict(class_map("general_midi", 5))


def test_a_folder_without_tracks_is_refused(tmp_path):
    (tmp_path / "train" / "Song").mkdir(parents=True)
    (tmp_path / "omitted" / "Track00002").mkdir(parents=True)
    with pytest.raises(Refused, match=f"{tmp_path} is not Slakh2100-redux"):
        list(CORPORA["slakh"].tracks(tmp_path, ONE))
