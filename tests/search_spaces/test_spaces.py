"""The contract of the spaces, over their table: every combination builds a model."""

import itertools
from dataclasses import fields

import numpy as np
import pytest
import torch
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.sample import Categorical, Integer, Quantized

from data_prep.spectrogram import BANDS
from search_spaces import SPACES
from search_spaces.common import OPTIMISER
from trainables.models import MODELS, build_model

RANDOM_DRAWS = 20


def model_space(name):
    return {key: domain for key, domain in SPACES[name].items() if key not in OPTIMISER}


def values(domain):
    """All values of a domain that has finitely many."""
    if isinstance(domain, Categorical):
        return list(domain.categories)
    assert isinstance(domain, Integer), domain
    sampler = domain.get_sampler()
    if isinstance(sampler, Quantized):
        return list(range(domain.lower, domain.upper + 1, sampler.q))
    return list(range(domain.lower, domain.upper))


def build(name, hyperparameters):
    with torch.device("meta"):
        model = build_model(name, hyperparameters, BANDS)
        assert sum(parameter.numel() for parameter in model.parameters()) > 0
    return model


def test_every_architecture_has_a_space():
    assert set(SPACES) == set(MODELS)


@pytest.mark.parametrize("name", SPACES)
def test_keys_are_the_models_hyperparameters_and_the_optimisers(name):
    assert set(model_space(name)) == {field.name for field in fields(MODELS[name].config)}
    assert set(OPTIMISER) == {"learning_rate", "weight_decay"} <= set(SPACES[name])


@pytest.mark.parametrize("name", SPACES)
def test_corners_build_models(name):
    ends = {key: (values(domain)[0], values(domain)[-1]) for key, domain in model_space(name).items()}
    for combination in itertools.product(*ends.values()):
        build(name, dict(zip(ends, combination, strict=True)))


@pytest.mark.parametrize("name", SPACES)
def test_random_draws_build_models(name):
    generator = np.random.default_rng(0)
    choices = {key: values(domain) for key, domain in model_space(name).items()}
    for _ in range(RANDOM_DRAWS):
        build(name, {key: of[generator.integers(len(of))] for key, of in choices.items()})


@pytest.mark.parametrize("name", SPACES)
def test_values_are_scalars_that_optuna_can_search(name):
    distributions = OptunaSearch.convert_search_space(dict(SPACES[name]))
    assert set(distributions) == set(SPACES[name])
    for domain in model_space(name).values():
        assert all(isinstance(value, int | str) for value in values(domain))


def test_numbers_are_the_designs():
    shown = {name: {key: values(domain) for key, domain in model_space(name).items()} for name in SPACES}
    widths, even = [72, 144, 288, 576], [2, 4, 6, 8, 10]
    attention = {"heads": [2, 4, 6, 8], "layers": even, "width": widths}
    assert shown == {
        "rnn": {"layers": [2, 3, 4, 5, 6], "hidden": widths, "unit": ["gru", "lstm"]},
        "cnn": {"convolutions": [1, 2, 3], "layers": [1, 2, 3, 4], "hidden": widths},
        "crnn": {"layers": [2, 3, 4, 5], "hidden": widths, "unit": ["gru", "lstm"]},
        "conv_transformer": attention,
        "vit": {**attention, "patch_bands": [7, 14, 21]},
    }
