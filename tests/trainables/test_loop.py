"""Training end to end on the miniature corpus: it learns, repeats, stops, and refuses what cannot work."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from data_prep.refused import Refused
from data_prep.shards import Corpus
from trainables.checkpoint import Checkpoint
from trainables.config import Settings, TrainingConfig
from trainables.data import TrainingData
from trainables.evaluation import evaluate
from trainables.loop import fit, train
from trainables.models import MODELS
from trainables.network import Network, autocast, has_bf16_units
from trainables.placement import MappedWindows
from trainables.tasks import TASKS

TASK = TASKS["drum_onsets"]
CPU = torch.device("cpu")
SMALL = {"patch_bands": 21, "heads": 2, "layers": 1, "width": 24}  # quick on a processor
CONFIG = TrainingConfig(
    ("mdb",), "vit", SMALL, Settings(batch_size=4, max_epochs=3, learning_rate=5e-3, precision="fp32")
)


@pytest.fixture(scope="module")
def trained(shards) -> list:
    config = replace(CONFIG, settings=replace(CONFIG.settings, max_epochs=40, learning_rate=1e-2))
    return list(train(config, shards, device="cpu"))


def test_it_learns_to_transcribe(trained, shards):
    best = max((epoch for epoch in trained if epoch.is_best), key=lambda epoch: epoch.number)
    score = evaluate(best.checkpoint, "mdb", shards, device="cpu")
    assert score.micro_f1 > 0.8
    assert score.split == "test"
    assert score.tracks == 2
    assert (
        sum(of.onsets for of in score.classes.values())
        == Corpus.open(shards / "mdb").tracks.query("split == 'test'")["onsets_per_class"].map(sum).sum()
    )


def test_epochs_are_flat_numbers_and_best_marks_a_new_best(trained):
    best = -math.inf
    for number, epoch in enumerate(trained, start=1):
        assert epoch.number == number == epoch.checkpoint.epoch
        assert all(isinstance(value, float) for value in epoch.metrics.values())
        assert epoch.is_best == (epoch.metrics["validation_micro_f1"] > best)
        best = max(best, epoch.metrics["validation_micro_f1"])


def test_the_validation_score_is_that_of_joined_windows(trained, shards):
    """The loop's own score has no margins, so it may differ a little from the evaluation's."""
    last = trained[-1]
    score = evaluate(last.checkpoint, "mdb", shards, split="validation", device="cpu")
    assert last.metrics["validation_micro_f1"] == pytest.approx(score.micro_f1, abs=0.05)


def test_a_seed_repeats_and_another_does_not(shards):
    losses = [
        [epoch.metrics["train_loss"] for epoch in train(replace(CONFIG, settings=settings), shards, device="cpu")]
        for settings in (CONFIG.settings, CONFIG.settings, replace(CONFIG.settings, seed=1))
    ]
    assert losses[0] == losses[1] != losses[2]


def test_it_stops_when_the_loss_stands_still(shards):
    settings = replace(CONFIG.settings, learning_rate=1e-12, max_epochs=30, stop_patience_epochs=3)
    epochs = list(train(replace(CONFIG, settings=settings), shards, device="cpu"))
    assert 4 <= len(epochs) < 30


def test_the_learning_rate_falls_on_a_plateau(shards):
    settings = replace(CONFIG.settings, learning_rate=1e-7, max_epochs=8, plateau_patience_epochs=1)
    rates = [
        epoch.metrics["learning_rate"] for epoch in train(replace(CONFIG, settings=settings), shards, device="cpu")
    ]
    assert rates[0] == 1e-7
    assert rates[-1] == pytest.approx(rates[0] * 0.2 ** round(math.log(rates[-1] / rates[0], 0.2)))
    assert rates[-1] < rates[0]


def test_the_step_is_torch_s_adamw_on_the_study_s_loss(shards):
    """One full batch against a plain loop written with torch.optim and the loss spelled out."""
    settings = replace(CONFIG.settings, batch_size=1000, max_epochs=2)
    data = TrainingData.open(("mdb",), shards, "onsets")
    torch.manual_seed(0)
    ours, theirs = (
        Network(TASK, "rnn", {"layers": 1, "hidden": 8}, bands=84, classes=5, mean=data.mean, deviation=data.deviation)
        for _ in range(2)
    )
    theirs.load_state_dict(ours.state_dict())
    list(fit(ours, TASK, data, settings))
    optimiser = torch.optim.AdamW(theirs.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    generator = np.random.default_rng(settings.seed)
    rate = torch.tensor(data.rates)
    weights = (-1 / (rate * rate.log() + (1 - rate) * (1 - rate).log())).float()
    for _ in range(2):
        for bands, halves in MappedWindows(data.train, CPU).shuffled(1000, generator):
            target, logits = halves / 2, theirs(bands)
            bce = -(target * torch.sigmoid(logits).log() + (1 - target) * torch.sigmoid(-logits).log()).sum(2)
            loss = (bce * (target * weights).sum(2).clamp(min=1)).mean()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(theirs.parameters(), 2.0)
            optimiser.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-3)


def test_losses_are_the_golden_ones(golden):
    numbers = {name: torch.from_numpy(of) for name, of in golden("loss").items()}
    training = TASK.loss(numbers["logits"], numbers["targets"], numbers["infrequency_weights"])
    validation = TASK.loss(numbers["logits"], numbers["targets"], None)
    assert float(training) == pytest.approx(float(numbers["training_loss"]), rel=1e-6)
    assert float(validation) == pytest.approx(float(numbers["validation_loss"]), rel=1e-6)


def test_infrequency_weights():
    weights = TASK.class_weights(np.array([0.5, 0.01, 0.0]))
    assert weights[0] == pytest.approx(1 / math.log(2))
    assert weights[1] == pytest.approx(1 / (0.01 * math.log(100) + 0.99 * math.log(1 / 0.99)))
    assert np.isfinite(weights).all()


def test_a_loss_that_is_not_finite_ends_the_training(shards):
    config = replace(CONFIG, settings=replace(CONFIG.settings, learning_rate=1e30))
    with pytest.raises(FloatingPointError, match=r"loss became (nan|inf) in epoch \d at learning rate 1e\+30"):
        list(train(config, shards, device="cpu"))


def test_data_knows_moments_and_rates_of_the_training_split(shards):
    data = TrainingData.open(("mdb",), shards, "onsets")
    tracks = [data.train.track(number) for number in range(len(data.train.frames))]
    values = np.concatenate([track.bands for track in tracks]).astype(float)
    onsets = np.concatenate([track.targets for track in tracks]) == 2
    assert (data.mean, data.deviation) == pytest.approx((values.mean(), values.std()))
    np.testing.assert_allclose(data.rates, onsets.mean(axis=0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"corpora": ("slakh",)}, "corpus 'slakh' is not prepared"),
        ({"corpora": ()}, "no corpus was named"),
        ({"task": "style"}, "unknown task 'style'; choose from drum_onsets"),
        ({"architecture": "mlp"}, "unknown architecture 'mlp'"),
        ({"hyperparameters": {"hiden": 3}}, "unknown key 'hiden'"),
    ],
)
def test_refused_before_the_first_step(shards, change, words):
    with pytest.raises(Refused, match=words):
        next(train(replace(CONFIG, **change), shards))


def test_corpora_that_do_not_fit_the_task(shards):
    with pytest.raises(Refused, match="corpus 'mdb' holds onsets, the task learns labels"):
        TrainingData.open(("mdb",), shards, "labels")


@pytest.mark.skipif(not has_bf16_units(torch.device("cpu")), reason="no bf16 units")
@pytest.mark.parametrize("name", sorted(MODELS))
def test_bf16_loss_and_gradient_agree_with_fp32(shards, name):
    data = TrainingData.open(("mdb",), shards, "onsets")
    torch.manual_seed(0)
    network = Network(TASK, name, {}, bands=84, classes=5, mean=data.mean, deviation=data.deviation).eval()
    bands, halves = data.train.read(next(data.train.in_order.pieces(2)))
    losses, gradients = [], []
    for precision in ("fp32", "bf16"):
        network.zero_grad()
        with autocast(torch.device("cpu"), precision):
            logits = network(bands)
        loss = TASK.loss(logits, halves / 2, None)
        loss.backward()
        losses.append(float(loss.detach()))
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in network.parameters()]))
    assert losses[1] == pytest.approx(losses[0], rel=0.01)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


def test_autocast_is_off_on_request():
    assert not autocast(torch.device("cpu"), "fp32")._enabled
    assert autocast(torch.device("cpu"), "bf16")._enabled


def test_checkpoints_hold_copies(shards):
    epochs = train(CONFIG, shards, device="cpu")
    first: Checkpoint = next(epochs).checkpoint
    before = {name: value.clone() for name, value in first.weights.items()}
    next(epochs)
    assert all(torch.equal(first.weights[name], value) for name, value in before.items())
