"""A sweep by another recipe: what its space holds, where the chosen values go, and how it goes on."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mixed_corpora import prepare_mixed
from ray.tune.search.optuna import OptunaSearch

from data_prep.refused import Refused
from data_prep.storage import Storage
from search_spaces import RECIPE_SPACES, SPACES, space_of
from trainables.checkpoint import Checkpoint
from trainables.config import RECIPES, SETTING_NAMES, Augmentation, Settings, TrainingConfig
from tuner.commands.sweep import scalar
from tuner.options import SweepOptions, check_beginning, options_of
from tuner.packing import largest, packing_of
from tuner.plan import HAVE_OPTIONS, check
from tuner.points import checked
from tuner.sweep import sweep
from tuner.sweep_folder import SweepFile
from tuner.trial import fill_in

DRAWS = 200


@pytest.fixture
def options(shards, tmp_path):
    return SweepOptions(
        ("mdb",), "vit", recipe="mirtune", shards=shards, tracking_uri=f"sqlite:///{tmp_path}/mlflow.db",
        storage=str(tmp_path / "sweeps"),
    )  # fmt: skip


def test_every_recipe_has_a_space_and_the_studys_adds_nothing():
    assert set(RECIPE_SPACES) == set(RECIPES)
    for name, space in SPACES.items():
        assert space_of(name, "study") == space


def test_a_recipes_names_are_of_training_and_no_architectures():
    for space in RECIPE_SPACES.values():
        assert set(space) <= SETTING_NAMES - HAVE_OPTIONS
        assert not any(set(space) & set(of) for of in SPACES.values())


def test_any_draw_of_a_recipe_s_space_makes_settings_and_optuna_takes_it():
    space = dict(RECIPE_SPACES["mirtune"])
    assert set(OptunaSearch.convert_search_space(space)) == set(space)
    np.random.seed(0)  # noqa: NPY002 - of Ray's own draws
    for _ in range(DRAWS):
        chosen = {name: domain.sample() for name, domain in space.items()}
        config = fill_in(TrainingConfig(("a",), "vit", {}, RECIPES["mirtune"]), {**chosen, "width": 72})
        assert config.hyperparameters == {"width": 72}
        found = {**config.settings.to_dict(), **config.settings.augmentation.to_dict()}
        assert {name: found[name] for name in chosen} == chosen


def test_a_search_can_turn_off_all_that_is_done_to_windows():
    space = RECIPE_SPACES["mirtune"]
    offs = {name: 0.0 for name in space if name in Augmentation.__dataclass_fields__}
    assert all(0.0 in space[name].categories for name in offs)
    assert RECIPES["mirtune"].with_values(offs).augmentation.is_off


def test_chosen_values_of_the_study_go_where_they_went():
    config = TrainingConfig(("a",), "rnn", {}, Settings(batch_size=4))
    filled = fill_in(config, {"learning_rate": 2e-3, "hidden": 72})
    assert filled == replace(config, hyperparameters={"hidden": 72}, settings=Settings(2e-3, batch_size=4))


def test_networks_are_measured_without_the_recipe_s_values():
    assert list(map(list, largest(space_of("rnn", "mirtune")))) == list(map(list, largest(SPACES["rnn"])))


def test_a_recipe_has_a_batch_of_its_own(options):
    plan = check(options)
    cluster = {"CPU": 2.0}
    assert packing_of(options, plan, cluster)[1] == 32
    assert packing_of(replace(options, batch_size=7), plan, cluster)[1] == 7
    assert packing_of(replace(options, recipe="study"), plan, cluster)[1] == 16


def test_narrowed_values_may_be_of_any_setting(options):
    narrow = {"music_share": (0, 0.75), "epoch_windows": (64,), "calibrate": (scalar("false"),), "width": (72,)}
    space = check(replace(options, narrow=narrow)).space
    assert {name: list(space[name].categories) for name in narrow} == {name: list(of) for name, of in narrow.items()}
    together = {"over_music_low_db": (8, 9), "over_music_high_db": (12,)}
    assert set(together) <= set(check(replace(options, narrow=together)).space)
    assert "music_share" in check(replace(options, recipe="study", narrow={"music_share": (0.5,)})).space


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recipe": "ours"}, "unknown recipe 'ours'; choose from study, mirtune"),
        ({"narrow": {"music_share": (2,)}}, "music_share = 2.0; expected 0 to 1"),
        ({"narrow": {"music_share": ("much",)}}, "music_share = 'much' in an Augmentation; expected float"),
        ({"narrow": {"over_music_low_db": (8,)}}, "over_music_low_db = 8 is above over_music_high_db = 6"),
        ({"narrow": {"batch_size": (8,)}}, "unknown hyperparameter 'batch_size'; choose from audible_rise"),
        ({"narrow": {"corpus_power": (0.5,)}}, "unknown hyperparameter 'corpus_power'; choose from audible_rise"),
        ({"narrow": {"augmentation": (1,)}}, "unknown hyperparameter 'augmentation'"),
    ],
)
def test_what_no_recipe_has_is_refused(options, change, words):
    with pytest.raises(Refused, match=words):
        check(replace(options, **change))


def test_the_recipe_is_recorded_and_a_sweep_goes_on_by_it(options):
    assert options.beginning["recipe"] == "mirtune"
    assert "--recipe mirtune" in options.command
    assert "--recipe" not in replace(options, recipe="study").command
    began = SweepFile(options.beginning, {})
    began.save(Storage.at(options.storage) / "x")
    given = {"storage": options.storage, "name": "x", "resume": True}
    assert options_of(given).recipe == "mirtune"
    with pytest.raises(
        Refused, match="was begun with --recipe mirtune and cannot go on with study; leave --recipe out"
    ):
        check_beginning(began, options_of({**given, "recipe": "study"}), {})


def test_a_sweep_of_an_earlier_version_is_the_studys(options):
    study = replace(options, recipe="study")
    older = {name: of for name, of in study.beginning.items() if name != "recipe"}
    SweepFile(older, {}).save(Storage.at(options.storage) / "x")
    resumed = options_of({"storage": options.storage, "name": "x", "resume": True})
    assert resumed.recipe == "study"
    check_beginning(SweepFile(older, {}), resumed, {})
    with pytest.raises(Refused, match="was begun with --recipe study and cannot go on with mirtune"):
        check_beginning(SweepFile(older, {}), options, {})


def test_whole_numbers_in_points_stand_for_floats():
    space = space_of("rnn", "mirtune")
    point = json.loads('{"music_share": 0, "gain_db": 12, "shift_frames": 1, "weight_scale": 1, "hidden": 72}')
    assert checked([point], space, "p.json") == [point]
    for wrong in ({"shift_frames": 1.0}, {"music_share": True}, {"music_share": 0.3}, {"weight_scale": 2}):
        with pytest.raises(Refused, match=f"has {next(iter(wrong))} = "):
            checked([wrong], space, "p.json")


def test_the_command_knows_recipes():
    done = subprocess.run(
        [sys.executable, "-m", "tuner.cli", "sweep", "--corpus", "x", "--recipe", "x"],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 2
    assert "choose from" in done.stderr


def test_a_sweep_of_two_trials_trains_by_the_recipe(options, ray):
    """Without stems or music: what is mixed in bands only."""
    small = {"patch_bands": (21,), "heads": (2,), "layers": (1,), "width": (24,), "epoch_windows": (8,)}
    result = sweep(
        replace(options, trials=2, max_epochs=2, batch_size=4, name="recipe", precision="fp32", narrow=small)
    )
    assert [record.state for record in result.trials] == ["finished"] * 2
    checkpoint = Checkpoint.load(Path(result.checkpoint))
    settings = checkpoint.config.settings
    assert (settings.recipe, settings.stop_on, settings.schedule) == ("mirtune", "score", "cosine")
    assert settings.epoch_windows == 8
    assert settings == RECIPES["mirtune"].with_values(
        {
            **{name: of for name, of in result.best.hyperparameters.items() if name in SETTING_NAMES},
            "batch_size": 4,
            "max_epochs": 2,
            "precision": "fp32",
        }
    )
    assert checkpoint.metrics["validation_micro_f1"] >= checkpoint.metrics["validation_plain_micro_f1"]


def test_corpora_to_mix_stand_beside_one_that_validates(options, tmp_path):
    folder = prepare_mixed(tmp_path / "mixed")
    asked = replace(options, corpora=("clicks", "clicks_stems", "music"), shards=folder)
    plan = check(asked)
    assert plan.bands == 84
    assert "clicks_stems" not in plan.tested
    assert set(plan.checksums) == set(asked.corpora)
    with pytest.raises(Refused, match="'clicks_stems' is there to be mixed in training, and cannot validate it"):
        check(replace(asked, corpora=("clicks_stems",)))
    with pytest.raises(Refused, match="'clicks_stems', 'music' are there to be mixed in training, which"):
        check(replace(asked, recipe="study"))


def test_drums_that_get_no_music_are_told(options, tmp_path, capsys):
    folder = prepare_mixed(tmp_path / "mixed")
    told = {}
    for corpora in (("clicks", "clicks_stems"), ("clicks", "clicks_stems", "music"), ("clicks",)):
        check(replace(options, corpora=corpora, shards=folder))
        told[corpora] = "no music is mixed under the stems" in capsys.readouterr().err
    assert list(told.values()) == [True, False, False]


def test_a_search_begins_with_the_recipe_itself(options):
    (point,) = check(options).points
    values = {**RECIPES["mirtune"].to_dict(), **RECIPES["mirtune"].augmentation.to_dict()}
    assert set(RECIPE_SPACES["mirtune"]) < set(point)
    assert {name: values[name] for name in point} == point
    assert check(replace(options, recipe="study")).points == []
    (narrowed,) = check(replace(options, narrow={"music_share": (0, 0.5), "stretch": (0.1,)})).points
    assert "music_share" not in narrowed
    assert narrowed["stretch"] == 0.1
