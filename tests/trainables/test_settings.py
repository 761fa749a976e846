"""Recipes, and what settings and augmentation refuse."""

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.refused import Refused
from trainables.config import (
    AUGMENTATION_MOST,
    RECIPE_NAMES,
    RECIPES,
    SETTING_NAMES,
    Augmentation,
    Settings,
)

BEFORE_RECIPES = (  # keys of a checkpoint's config.json as the first versions wrote it
    *("learning_rate", "weight_decay", "batch_size", "max_epochs", "gradient_norm", "plateau_factor"),
    *("plateau_patience_epochs", "stop_patience_epochs", "precision", "seed"),
)


def test_the_studys_recipe_is_the_default_and_changes_nothing():
    assert tuple(RECIPES) == RECIPE_NAMES
    assert RECIPES["study"] == Settings()
    assert Settings().augmentation.is_off
    assert all(settings.recipe == name for name, settings in RECIPES.items())
    assert not RECIPES["mirtune"].augmentation.is_off


def test_settings_written_before_there_were_recipes_are_the_studys():
    old = {name: value for name, value in Settings(seed=3).to_dict().items() if name in BEFORE_RECIPES}
    assert Settings.from_dict(json.loads(json.dumps(old))) == Settings(seed=3)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_travel_as_json(name):
    assert Settings.from_dict(json.loads(json.dumps(RECIPES[name].to_dict()))) == RECIPES[name]


@pytest.mark.parametrize("name", AUGMENTATION_MOST)
@given(value=st.floats())
def test_any_number_of_an_augmentation_is_refused_or_kept(name, value):
    if 0 <= value <= AUGMENTATION_MOST[name] and not (name in ("bleed_share", "silence_share") and value == 1):
        of = Augmentation(**{name: value})
        assert getattr(of, name) == value
        assert of.is_off == (value == 0)
    else:
        with pytest.raises(Refused, match=name):
            Augmentation(**{name: value})


def test_every_number_of_an_augmentation_has_a_range():
    levels = {"over_music_low_db", "over_music_high_db"}
    assert {of.name for of in fields(Augmentation)} == {*AUGMENTATION_MOST, *levels}
    assert Augmentation(over_music_low_db=-3).is_off


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"over_music_low_db": 7}, "over_music_low_db = 7 is above over_music_high_db = 6; swap them"),
        ({"over_music_high_db": 100.0}, "over_music_high_db = 100.0; expected -60 to 60"),
        ({"bleed_share": 0.5, "silence_share": 0.5}, "leave nothing to learn from"),
        ({"music": 1.0}, "unknown key 'music' in an Augmentation"),
    ],
)
def test_augmentation_refuses_nonsense(content, words):
    with pytest.raises(Refused, match=words):
        Augmentation.from_dict(content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"recipe": "ours"}, "unknown recipe 'ours'; choose from study, mirtune"),
        ({"weight_scale": 0.0}, "weight_scale = 0.0; expected a number above 0"),
        ({"weight_scale": 2.0}, "weight_scale = 2.0; expected 0 to 1"),
        ({"stop_on": "f1"}, "unknown stop_on 'f1'; choose from loss, score"),
        ({"average_decay": 1.0}, "average_decay = 1.0; expected at least 0 and less than 1"),
        ({"average_decay": float("nan")}, "average_decay = nan"),
        ({"shift_frames": 6}, "shift_frames = 6; expected 0 to 5"),
        ({"shift_frames": 0.5}, "shift_frames = 0.5 in a Settings; expected int"),
        ({"schedule": "step"}, "unknown schedule 'step'; choose from plateau, cosine"),
        ({"epoch_windows": -1}, "epoch_windows = -1; expected 0 to"),
        ({"level": "loud"}, "unknown level 'loud'; choose from as_recorded, window, whitened"),
        ({"calibrate": 1}, "calibrate = 1 in a Settings; expected bool"),
        ({"augmentation": {"gain_db": "much"}}, "gain_db = 'much' in an Augmentation; expected float"),
        ({"augmentation": 1}, "augmentation = 1 in a Settings; expected Augmentation"),
    ],
)
def test_settings_refuse_what_no_recipe_has(content, words):
    with pytest.raises(Refused, match=words):
        Settings.from_dict(content)


def test_values_find_their_place_by_name():
    chosen = {"learning_rate": 2e-3, "music_share": 1, "shift_frames": 2}
    of = RECIPES["mirtune"].with_values(chosen)
    augmentation = replace(RECIPES["mirtune"].augmentation, music_share=1.0)
    assert of == replace(RECIPES["mirtune"], learning_rate=2e-3, shift_frames=2, augmentation=augmentation)
    assert set(chosen) <= SETTING_NAMES
    assert "hidden" not in SETTING_NAMES
    with pytest.raises(Refused, match="unknown key 'hidden'"):
        Settings().with_values({"hidden": 72})


def test_no_name_is_a_settings_and_an_augmentations():
    assert not set(Settings.__dataclass_fields__) & set(Augmentation.__dataclass_fields__)
