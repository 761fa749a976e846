"""What corpora have in common, and numbers in what others wrote."""

from dataclasses import replace
from itertools import combinations

import pytest

from data_prep.corpora import CORPORA
from data_prep.finite import is_finite
from data_prep.manifest import Manifest
from data_prep.material import MATERIAL, material_of

COMMON = {  # of all pairs of adapters
    ("demo", "demo_stems"),
    ("egmd", "groove"),
    ("egmd", "groove_stems"),
    ("enst", "enst_mdb"),
    ("enst_mdb", "mdb"),
    ("groove", "groove_stems"),
}


def test_every_corpus_has_its_material_and_these_alone_share_some():
    assert set(MATERIAL) == set(CORPORA) - {"folder"}
    pairs = combinations(sorted(MATERIAL), 2)
    assert {(one, other) for one, other in pairs if material_of(one) & material_of(other)} == COMMON


@pytest.mark.parametrize("one", sorted({of for pair in COMMON for of in pair}))
def test_another_number_of_classes_is_the_same_material(one):
    for name in (f"{one}-3", f"{one}-8"):
        assert material_of(name) == material_of(one)


@pytest.fixture
def prepared(shards, tmp_path):
    """Save the miniature's manifest as that of another corpus."""

    def save(name, **changes):
        folder = tmp_path / "shards" / name
        folder.mkdir(parents=True)
        replace(Manifest.load(shards / "mdb"), corpus=name, **changes).save(folder)
        return tmp_path / "shards"

    return save


def test_a_manifest_says_more_than_a_name(prepared):
    prepared("ours", adapter="mdb")
    prepared("theirs", adapter="enst_mdb")
    shards = prepared("other", adapter="sadtp")
    assert material_of("ours", shards) & material_of("theirs", shards) == {"mdb"}
    assert material_of("ours", shards) & material_of("mdb") == {"mdb"}
    assert not material_of("ours") & material_of("mdb")
    assert not material_of("ours", shards) & material_of("other", shards)
    assert material_of("ours", f"file://{shards}") == material_of("ours", shards)


def test_recordings_of_one_folder_are_the_same_under_any_name(prepared):
    prepared("first", adapter="folder", source="/music/a")
    prepared("second", adapter="folder", source="/music/a")
    shards = prepared("third", adapter="folder", source="/music/b")
    first, second, third = (material_of(name, shards) for name in ("first", "second", "third"))
    assert first & second
    assert not first & third
    assert material_of("first") & first


def test_where_no_manifest_can_be_read_the_name_counts(prepared):
    shards = prepared("damaged", adapter="mdb")
    (shards / "damaged" / "manifest.json").write_text("{")
    for name in ("damaged", "nothing", "../damaged", "a/b", ""):
        assert material_of(name, shards) == material_of(name)


@pytest.mark.parametrize("value", [0, -1.5, 2**1000, 10**308])
def test_numbers_that_a_float_can_hold_are_finite(value):
    assert is_finite(value)


@pytest.mark.parametrize("value", [int("9" * 400), -(10**400), float("nan"), float("inf"), True, "1", None, [1]])
def test_all_else_is_not(value):
    assert not is_finite(value)
