import kit_making as making
import numpy as np
import pytest
import soundfile

from data_prep.hydrogen import load_voices, piece_of, read_drumkit
from data_prep.pieces import SOUND_FONT_KEYS
from data_prep.refused import Refused
from data_prep.samples import LEAD_IN_SAMPLES

NAMES = {
    "Kick": "kick",
    "BassDrum": "kick",
    "Pearl Kick": "kick",
    'Kick (Tama Superstar 22")': "kick",
    "Snare Jazz": "snare",
    "Pearl Snare Rimshot": "rimshot",
    "Pearl Side Stick": "cross_stick",
    "Stick": "cross_stick",
    "Cross stick": "cross_stick",
    "Rim Click (Pearl Free Floating)": "cross_stick",
    "Snare Roll": None,
    "Tom Low": "floor_tom",
    "Floor Tom": "floor_tom",
    "Tom 2": "mid_tom",
    "Tom Hi": "high_tom",
    "Tom 1": "high_tom",
    "High tom": "high_tom",
    "Tom": "mid_tom",
    "Closed HH": "closed_hat",
    "Hat Closed": "closed_hat",
    "Hi Hat Opened": "open_hat",
    "Sabian Hat Semi-Open": "open_hat",
    "Side OHH": "open_hat",
    "Pedal HH": "pedal_hat",
    "VariBreaks Hat 1 Pd": "pedal_hat",
    "Sabian Hat Choke": None,
    "Crash": "crash_1",
    "Crash Right": "crash_2",
    'Crash/Ride (Paiste Rude Crash/Ride 18")': "crash_2",
    "ride-crash20inch": "ride",
    "ride-cup": "ride_bell",
    "Ride Bell": "ride_bell",
    "Ride 2": "ride_edge",
    "Paiste Ride": "ride",
    "Zildjian Splash": "splash",
    "China (Paiste Alpha)": "china",
    "Cymbal": "crash_1",
    "Cowbell": "cowbell",
    "Hand Clap": "clap",
    "Tambourine": "tambourine",
    "Conga 1": None,
    "17": None,
    "": None,
}


@pytest.mark.parametrize(("name", "piece"), NAMES.items())
def test_what_a_name_means(name, piece):
    assert piece_of(name) == piece


def write_kit(folder, body):
    folder.mkdir()
    soundfile.write(folder / "a.wav", making.hit(1, lead_in_s=0.02), 44100)
    xml = f"<drumkit_info><name>A</name><instrumentList>{body}</instrumentList></drumkit_info>"
    (folder / "drumkit.xml").write_text(xml)
    return folder


def test_components_layers_and_trim(tmp_path):
    voices = load_voices(read_drumkit(making.hydrogen_kit(tmp_path / "kit", 1), SOUND_FONT_KEYS))
    assert set(voices) == {"kick", "snare", "floor_tom", "closed_hat", "open_hat", "crash_1", "ride"}
    soft, loud = voices["snare"][0].layers
    assert (soft.low, soft.high, loud.low, loud.high) == (1, 64, 64, 127)
    assert np.abs(loud.samples).max() > 1.5 * np.abs(soft.samples).max()
    assert abs(int(np.argmax(np.abs(loud.samples) > 0.1)) - LEAD_IN_SAMPLES) <= 1


@pytest.mark.parametrize(
    "inner",
    [
        "<filename>a.wav</filename>",
        "<layer><filename>a.wav</filename><min>0</min><max>1</max><gain>1</gain></layer>",
        "<instrumentComponent><gain>1</gain><layer><filename>a.wav</filename></layer></instrumentComponent>",
    ],
)
def test_three_generations_of_the_format(tmp_path, inner):
    body = f"<instrument><name>Kick</name><volume>0.5</volume>{inner}</instrument>"
    (voice,) = load_voices(read_drumkit(write_kit(tmp_path / "kit", body), {}))["kick"]
    assert (voice.layers[0].low, voice.layers[0].high) == (1, 127)
    assert np.abs(voice.layers[0].samples).max() == pytest.approx(0.25, abs=0.01)


def test_a_note_decides_only_where_the_name_does_not(tmp_path):
    body = "<instrument><name>Thing</name><midiOutNote>36</midiOutNote><filename>a.wav</filename></instrument>"
    body += "<instrument><name>Snare 2</name><midiOutNote>48</midiOutNote><filename>a.wav</filename></instrument>"
    body += "<instrument><name>Other</name><midiOutNote>60</midiOutNote><filename>a.wav</filename></instrument>"
    assert set(read_drumkit(write_kit(tmp_path / "kit", body), SOUND_FONT_KEYS).instruments) == {"kick", "snare"}


def test_other_rates_are_resampled(tmp_path):
    folder = write_kit(tmp_path / "kit", "<instrument><name>Kick</name><filename>b.wav</filename></instrument>")
    soundfile.write(folder / "b.wav", making.tone(441, 1.0), 22050)  # half as fast: lasts 2 s
    samples = load_voices(read_drumkit(folder, {}))["kick"][0].layers[0].samples
    assert len(samples) == pytest.approx(2 * 44100, rel=0.01)


def test_a_recording_that_is_missing_is_left_out(tmp_path):
    body = "<instrument><name>Kick</name><filename>a.wav</filename></instrument>"
    body += "<instrument><name>Snare</name><filename>gone.wav</filename></instrument>"
    assert set(read_drumkit(write_kit(tmp_path / "kit", body), {}).instruments) == {"kick"}


@pytest.mark.parametrize("name", ["../a.wav", "/etc/passwd", "x/../../a.wav"])
def test_paths_that_leave_the_kit_are_refused(tmp_path, name):
    folder = write_kit(tmp_path / "kit", f"<instrument><name>Kick</name><filename>{name}</filename></instrument>")
    with pytest.raises(Refused, match="outside its own folder"):
        read_drumkit(folder, {})


def test_broken_kits_are_refused(tmp_path):
    with pytest.raises(Refused, match="cannot be read as a Hydrogen drumkit"):
        read_drumkit(tmp_path, {})
    folder = write_kit(tmp_path / "kit", "<instrument><name>Kick</name><filename>a.wav</filename></instrument>")
    whole = (folder / "drumkit.xml").read_text()
    (folder / "drumkit.xml").write_text(whole[:-20])
    with pytest.raises(Refused, match="cannot be read as a Hydrogen drumkit"):
        read_drumkit(folder, {})
    (folder / "drumkit.xml").write_text('<!DOCTYPE a [<!ENTITY b "c">]>' + whole)
    with pytest.raises(Refused, match="has declarations of entities"):
        read_drumkit(folder, {})
    (folder / "drumkit.xml").write_text("<drumkit_info/>")
    with pytest.raises(Refused, match="no drum piece that is known"):
        read_drumkit(folder, {})
    (folder / "drumkit.xml").write_bytes(b" " * (9 << 20))
    with pytest.raises(Refused, match="holds 9,437,184 bytes, and at most 8,388,608 are read"):
        read_drumkit(folder, {})
    (folder / "drumkit.xml").write_text(whole)
    (folder / "a.wav").write_text("no sound")
    with pytest.raises(Refused, match="cannot be read as audio"):
        load_voices(read_drumkit(folder, {}))


def test_too_many_layers_are_refused(tmp_path):
    layers = "<layer><filename>a.wav</filename></layer>" * 4097
    folder = write_kit(tmp_path / "kit", f"<instrument><name>Kick</name>{layers}</instrument>")
    with pytest.raises(Refused, match="more than 4096 layers"):
        read_drumkit(folder, {})
