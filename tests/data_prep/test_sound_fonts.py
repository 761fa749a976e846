import io
import struct
import time
from pathlib import Path

import kit_making as making
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from kit_making import Preset, Sound, span

from data_prep import sound_font_notes
from data_prep.default_kits import default_sound_font
from data_prep.refused import Refused
from data_prep.samples import LEAD_IN_SAMPLES, Layer
from data_prep.sound_fonts import SoundFont


@pytest.fixture(scope="module")
def font_bytes(tmp_path_factory):
    looped = Sound(making.tone(441, 0.2), [(54, 1), (38, 0)], 69, (4410, 8810))
    path = tmp_path_factory.mktemp("font") / "tiny.sf2"
    return making.sound_font(path, [making.drum_preset(1), Preset(0, 0, [looped], "Organ")]).read_bytes()


def play_everything(path: Path) -> None:
    font = SoundFont(path)
    for preset in font.presets:
        for zone in font.zones(*preset):
            sound_font_notes.tone(font, zone, zone.keys[0], 0.1)
    for preset in font.drum_presets:
        for key in (36, 42):
            sound_font_notes.drum_voice(font, preset, key)


def layers_of(font: SoundFont, preset: tuple[int, int], key: int) -> tuple[Layer, ...]:
    voice = sound_font_notes.drum_voice(font, preset, key)
    assert voice is not None
    return voice.layers


def dominant_hz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 17))
    return float(spectrum.argmax() * making.RATE_HZ / (1 << 17))


def test_presets_and_velocity_layers(tmp_path):
    soft, loud = making.hit(1, peak=0.1), making.hit(2, peak=0.9)
    sounds = [
        Sound(soft, [(43, span(38, 38)), (44, span(0, 63))], 38),
        Sound(loud, [(43, span(38, 38)), (44, span(64, 127))], 38),
    ]
    font = SoundFont(making.sound_font(tmp_path / "a.sf2", [Preset(128, 8, sounds, "Room")]))
    assert font.presets == {(128, 8): "Room"}
    assert font.drum_presets == ((128, 8),)
    layers = layers_of(font, (128, 8), 38)
    assert [(layer.low, layer.high) for layer in layers] == [(1, 63), (64, 127)]
    assert [round(float(np.abs(layer.samples).max()), 2) for layer in layers] == [0.1, 0.9]
    assert sound_font_notes.drum_voice(font, (128, 8), 40) is None


def test_the_only_preset_of_a_font_is_its_percussion(tmp_path):
    font = SoundFont(making.sound_font(tmp_path / "a.sf2", [Preset(0, 0, making.drum_preset(3).sounds)]))
    assert font.drum_presets == ((0, 0),)


def test_stereo_pairs_are_averaged(tmp_path):
    both = [Sound(making.hit(1), [(43, span(36, 36))], 36, kind=kind) for kind in (4, 2)]
    font = SoundFont(making.sound_font(tmp_path / "a.sf2", [Preset(128, 0, both)]))
    samples = layers_of(font, (128, 0), 36)[0].samples
    np.testing.assert_allclose(np.abs(samples).max(), 0.5, atol=0.01)


def test_pitch_follows_key_root_and_tuning(tmp_path):
    sound = Sound(making.tone(441, 0.2), [(54, 1), (51, 1), (52, 50), (58, 69)], 20, (4410, 8810))  # 1.5 semitones up
    font = SoundFont(making.sound_font(tmp_path / "a.sf2", [Preset(0, 0, [sound])]))
    (zone,) = font.zones(0, 0)
    sounding = sound_font_notes.tone(font, zone, 69 + 12, 1.0)
    assert len(sounding) == making.RATE_HZ  # five times the recording: the loop goes on
    assert dominant_hz(sounding[20000:]) == pytest.approx(441 * 2 ** (13.5 / 12), rel=0.003)


def test_attenuation_and_global_zone(tmp_path):
    sound = Sound(making.hit(1), [(43, span(36, 36)), (48, 250)], 36)  # 25 dB written, 10 dB heard
    font = SoundFont(making.sound_font(tmp_path / "a.sf2", [Preset(128, 0, [sound])]))
    (zone,) = font.zones(128, 0)
    assert zone.gain == pytest.approx(10**-0.5)


def test_a_looped_drum_ends(tmp_path):
    endless = Sound(making.tone(4410, 0.1), [(43, span(49, 49)), (54, 1), (38, 0)], 49, (441, 4400))
    font = SoundFont(making.sound_font(tmp_path / "a.sf2", [Preset(128, 0, [endless])]))
    samples = layers_of(font, (128, 0), 49)[0].samples
    assert 0.15 < len(samples) / making.RATE_HZ < 2.0


def test_envelope_rises_holds_falls_and_ends(tmp_path):
    amounts = [
        (34, -1200),
        (36, 0),
        (37, 200),
        (38, 0),
    ]  # attack 0.5 s, decay 1 s a 100 dB, sustain -20 dB, release 1 s
    font = SoundFont(making.sound_font(tmp_path / "a.sf2", [Preset(0, 0, [Sound(making.tone(441), amounts)])]))
    volume = sound_font_notes.envelope(font.zones(0, 0)[0], 2 * making.RATE_HZ, 1.5)
    at = [float(volume[int(t * making.RATE_HZ)]) for t in (0.0, 0.25, 0.5, 0.6, 1.4, 1.7)]
    np.testing.assert_allclose(at, [0, 0.5, 1, 10**-0.5, 0.1, 0.1 * 10**-1], atol=0.01)


def test_lead_in_is_trimmed_to_the_attack(tmp_path):
    late = Sound(making.hit(1, lead_in_s=0.027), [(43, span(36, 36)), (58, 36)], 36)
    font = SoundFont(making.sound_font(tmp_path / "a.sf2", [Preset(128, 0, [late])]))
    samples = layers_of(font, (128, 0), 36)[0].samples
    assert abs(int(np.argmax(np.abs(samples) > 0.1)) - LEAD_IN_SAMPLES) <= 1


def test_vorbis_recordings_are_read(tmp_path, font_bytes):
    path = tmp_path / "a.sf3"
    ogg = io.BytesIO()
    soundfile.write(ogg, making.hit(1), making.RATE_HZ, format="OGG", subtype="VORBIS")
    packed = np.frombuffer(ogg.getvalue() + b"\0" * (len(ogg.getvalue()) % 2), "<i2").astype(np.float32) / 32767
    making.sound_font(path, [Preset(128, 0, [Sound(packed, [(43, span(36, 36))], 36, kind=0x11)])])
    content = bytearray(path.read_bytes())
    place = content.index(b"shdr") + 8 + 24
    content[place : place + 4] = struct.pack("<I", len(ogg.getvalue()))  # in bytes, from byte 0
    start = content.index(b"smpl") + 8
    content[start : start + len(ogg.getvalue())] = ogg.getvalue()
    path.write_bytes(content)
    assert len(SoundFont(path).recording(0)) == pytest.approx(len(making.hit(1)), abs=64)


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(Refused, match="cannot be opened as a sound font"):
        SoundFont(tmp_path / "none.sf2")
    (tmp_path / "empty.sf2").touch()
    with pytest.raises(Refused, match="cannot be opened as a sound font"):
        SoundFont(tmp_path / "empty.sf2")
    (tmp_path / "text.sf2").write_text("not a sound font at all")
    with pytest.raises(Refused, match="does not begin as RIFF sfbk"):
        SoundFont(tmp_path / "text.sf2")


def test_a_preset_that_is_not_there_is_refused(tmp_path):
    font = SoundFont(making.sound_font(tmp_path / "a.sf2", [making.drum_preset(1)]))
    with pytest.raises(Refused, match="has no preset 5 in bank 128"):
        font.zones(128, 5)


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 0.999))
def test_a_truncated_font_is_refused(tmp_path_factory, font_bytes, share):
    path = tmp_path_factory.mktemp("cut") / "cut.sf2"
    path.write_bytes(font_bytes[: int(share * len(font_bytes))])
    with pytest.raises(Refused, match="sound font"):
        play_everything(path)


@settings(max_examples=150, deadline=None)
@given(places=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_damaged_tables_are_refused_or_played_and_never_take_long(tmp_path_factory, font_bytes, places):
    content = bytearray(font_bytes)
    tables = content.index(b"pdta")
    for share, value in places:
        content[tables + int(share * (len(content) - tables - 1))] = value
    path = tmp_path_factory.mktemp("damaged") / "damaged.sf2"
    path.write_bytes(content)
    before = time.perf_counter()
    try:
        play_everything(path)
    except Refused as refusal:
        assert "damaged.sf2" in str(refusal)  # noqa: PT017  (either outcome is right)
    assert time.perf_counter() - before < 5


def test_the_font_of_pretty_midi_has_its_eight_kits():
    font = SoundFont(default_sound_font())
    assert [number for _, number in font.drum_presets] == [0, 8, 16, 24, 25, 32, 40, 48]
