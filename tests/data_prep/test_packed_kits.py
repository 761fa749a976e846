"""Kits packed into few files: read as they were packed, to 16 bits; a part of the files is good for a part."""

import numpy as np
import pytest
from kit_making import hit, hydrogen_kit

from data_prep.kits import KitRef, find_kits, load_kit
from data_prep.packed_kits import LONGEST_S, RECORDINGS, PackedKit, pack_kits, packed_kits
from data_prep.rates import SAMPLE_RATE_HZ
from data_prep.refused import Refused
from data_prep.samples import Kit, Layer, Voice


def kit(name: str, *seeds: int, seconds: float = 0.2) -> PackedKit:
    """A made-up kit: a piece a seed, two layers each."""
    pieces = {
        f"piece_{seed}": (
            Voice((Layer(1, 80, 0.3 * hit(seed, seconds)), Layer(81, 127, hit(seed + 100, seconds))), curve=1.2),
        )
        for seed in seeds
    }
    return PackedKit(f"family of {name}", "train", Kit(name, pieces))


def samples_of(of: Kit) -> list[np.ndarray]:
    return [layer.samples for voices in of.pieces.values() for voice in voices for layer in voice.layers]


def test_what_is_read_is_what_was_packed(tmp_path):
    kits = [kit("one", 1, 2), kit("other", 3)]
    assert pack_kits(kits, tmp_path, 10**9) == ["one", "other"]
    found = packed_kits(tmp_path)
    for packed in kits:
        read = found[packed.kit.name]
        assert (read.family, read.split) == (packed.family, packed.split)
        assert list(read.kit.pieces) == list(packed.kit.pieces)
        for voices, wanted in zip(read.kit.pieces.values(), packed.kit.pieces.values(), strict=True):
            assert [(layer.low, layer.high) for layer in voices[0].layers] == [(1, 80), (81, 127)]
            assert voices[0].curve == wanted[0].curve
        for samples, wanted in zip(samples_of(read.kit), samples_of(packed.kit), strict=True):
            assert samples.dtype == np.float32
            np.testing.assert_allclose(samples, wanted, atol=np.abs(wanted).max() / 65_000)


def test_a_recording_that_kits_share_is_there_once(tmp_path):
    pack_kits([kit("one", 1)], tmp_path / "one", 10**9)
    pack_kits([kit("one", 1), kit("again", 1)], tmp_path / "both", 10**9)
    sizes = [sum(path.stat().st_size for path in (tmp_path / of).glob(RECORDINGS)) for of in ("one", "both")]
    assert sizes[0] == sizes[1]
    assert set(packed_kits(tmp_path / "both")) == {"one", "again"}


def test_kits_beyond_the_room_are_left_out(tmp_path):
    room = sum(map(len, samples_of(kit("small", 1).kit)))
    assert pack_kits([kit("large", 1, 2), kit("small", 3)], tmp_path, room) == ["small"]


def test_what_rings_on_is_faded_out(tmp_path):
    long = kit("long", 1, seconds=2 * LONGEST_S)
    pack_kits([long], tmp_path, 10**9)
    for samples, wanted in zip(samples_of(packed_kits(tmp_path)["long"].kit), samples_of(long.kit), strict=True):
        assert len(samples) == LONGEST_S * SAMPLE_RATE_HZ < len(wanted)
        assert samples[-1] == 0
        np.testing.assert_allclose(samples[: len(samples) // 2], wanted[: len(samples) // 2], atol=1e-4)


def test_a_kit_is_read_where_all_its_recordings_are(tmp_path, monkeypatch):
    monkeypatch.setattr("data_prep.packed_kits.FILE_SAMPLES", 1)  # a file a recording
    pack_kits([kit("one", 1), kit("other", 2)], tmp_path, 10**9)
    assert len(list(tmp_path.glob(RECORDINGS))) == 4
    sorted(tmp_path.glob(RECORDINGS))[-1].unlink()
    assert set(packed_kits(tmp_path)) == {"one"}
    packed_kits.cache_clear()
    for path in tmp_path.glob(RECORDINGS):
        path.unlink()
    with pytest.raises(Refused, match="no kit with all its recordings"):
        packed_kits(tmp_path)


def test_damage_is_told(tmp_path):
    pack_kits([kit("one", 1)], tmp_path, 10**9)
    (tmp_path / "kits.arrow").write_bytes(b"no table")
    with pytest.raises(Refused, match="pack it again"):
        packed_kits(tmp_path)


def test_a_reference_to_a_packed_kit_loads_it(tmp_path):
    hydrogen_kit(tmp_path / "kit", 1)
    (ref,) = find_kits([tmp_path])
    pack_kits([PackedKit(ref.family, "train", load_kit(ref))], tmp_path / "packed", 10**9)
    loaded = load_kit(KitRef(ref.name, ref.family, tmp_path / "packed", "packed", split="train"))
    for samples, wanted in zip(samples_of(loaded), samples_of(load_kit(ref)), strict=True):
        np.testing.assert_allclose(samples, wanted, atol=1e-4)
