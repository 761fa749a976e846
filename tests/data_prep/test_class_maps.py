"""The class maps: every source vocabulary to 3, 5 and 8 classes."""

import pytest

from data_prep.classes import CLASS_MAPS, VOCABULARIES, WORDS, class_map, to_classes


@pytest.mark.parametrize("name", CLASS_MAPS)
@pytest.mark.parametrize("classes", VOCABULARIES)
def test_every_map_knows_its_labels_in_every_vocabulary(name, classes):
    labels = class_map(name, classes)
    reached = set(labels.values()) - {None}
    silent = {"claves"} if name == "mdb" else set()  # MDB Drums has none
    assert {VOCABULARIES[classes][of] for of in reached} == set(VOCABULARIES[classes]) - silent
    assert set(labels) == set(class_map(name))


@pytest.mark.parametrize("name", CLASS_MAPS)
def test_three_classes_are_the_five_without_toms_and_cymbals(name):
    five, three = (
        {label: None if of is None else VOCABULARIES[classes][of] for label, of in class_map(name, classes).items()}
        for classes in (5, 3)
    )
    assert three == {label: of if of in VOCABULARIES[3] else None for label, of in five.items()}


def test_the_study_hears_tambourines_as_hats_and_cowbells_as_cymbals():
    assert class_map("general_midi")["54"] == VOCABULARIES[5].index("hi-hat")
    assert class_map("general_midi")["56"] == VOCABULARIES[5].index("cymbals")
    assert class_map("general_midi", 8)["56"] == class_map("general_midi", 8)["53"] == VOCABULARIES[8].index("bell")
    assert class_map("mdb")["TMB"] == VOCABULARIES[5].index("hi-hat")


def test_roland_adds_the_rim_that_general_midi_lacks():
    extra = {label: of for label, of in class_map("roland").items() if class_map("general_midi").get(label) != of}
    assert extra == {"58": 2}


@pytest.mark.parametrize(
    ("label", "name"),
    [("sd-", "snare"), ("rc3", "cymbals"), ("cr1", "cymbals"), ("c4", "cymbals"), ("ltr", "toms"), ("sweep", "snare")],
)
def test_enst_labels_lose_their_digit_or_dash(label, name):
    classes, unknown = to_classes([label], class_map("enst"))
    assert [VOCABULARIES[5][of] for of in classes] == [name]
    assert not unknown


def test_unknown_labels_are_counted():
    classes, unknown = to_classes(["KD", "XX", "XX", "SPC", "KD-"], class_map("mdb"))
    assert classes.tolist() == [0, -1, -1, 4, -1]
    assert unknown == {"XX": 2, "KD-": 1}


@pytest.mark.parametrize("classes", VOCABULARIES)
def test_words_from_anywhere_mean_what_they_can_only_mean(classes):
    words, vocabulary = class_map(WORDS, classes), VOCABULARIES[classes]
    assert {name: words[name] for name in vocabulary} == {name: index for index, name in enumerate(vocabulary)}
    for name in CLASS_MAPS:
        known = {label: of for label, of in class_map(name, classes).items() if label != "58"}
        assert {label: words[label] for label in known} == known


def test_words_in_other_vocabularies():
    five, eight, three = (class_map(WORDS, classes) for classes in (5, 8, 3))
    assert five["ride"] == five["crash"] == five["bell"] == VOCABULARIES[5].index("cymbals")
    assert five["claves"] is None
    assert three["toms"] is three["cymbals"] is None
    assert "cymbals" not in eight  # crash, ride or bell
    assert five["58"] is None  # digits are General MIDI
    assert five["Kick"] == five["KICK"] == five["kd"] == five["bd-"] == 0
    assert "whistle" not in five
