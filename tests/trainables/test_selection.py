"""What the second recipe adds to a training: shifts, averages, a cosine, epochs of any length, another stop."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_networks import SMALL, TASK, network_of
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from data_prep.onsets import ONSET
from data_prep.refused import Refused
from trainables import level as levels
from trainables import loop, mixing
from trainables.averaging import Average, decay_of
from trainables.calibration import calibrate
from trainables.config import LEVELS, RECIPES, Augmentation, Settings, TrainingConfig
from trainables.evaluation import evaluate
from trainables.loop import fit, train
from trainables.peaks import PeakRule
from trainables.placement import MappedWindows
from trainables.schedule import cosine_factor
from trainables.state import TrainingState
from trainables.tasks import drum_onsets
from trainables.training import Training

CPU = torch.device("cpu")
SETTINGS = Settings(batch_size=4, max_epochs=4, learning_rate=5e-3, precision="fp32")
SELECTING = replace(
    SETTINGS, stop_on="score", average_decay=0.9, schedule="cosine", shift_frames=1, weight_scale=0.1, calibrate=True
)
MIXED = replace(RECIPES["mirtune"], batch_size=4, max_epochs=3, epoch_windows=8, precision="fp32")


def config_of(name: str, settings: Settings) -> TrainingConfig:
    return TrainingConfig(("mdb",), name, SMALL[name], settings)


def plain_shifted(logits: np.ndarray, targets: np.ndarray, weights: np.ndarray | None, shift: int) -> float:
    """The loss one frame at a time, from probabilities."""
    batch, frames, classes = logits.shape
    total = 0.0
    for b in range(batch):
        for t in range(frames):
            frame, weight = 0.0, 0.0
            around = slice(max(t - shift, 0), t + shift + 1)
            for k in range(classes):
                if targets[b, t, k] == 1:
                    frame -= math.log(1 / (1 + math.exp(-logits[b, around, k].max())))
                    weight += 0 if weights is None else weights[k]
                elif not (targets[b, around, k] == 1).any():
                    frame -= math.log(1 - 1 / (1 + math.exp(-logits[b, t, k])))
            total += frame * max(weight, 1)
    return total / (batch * frames)


@given(
    seed=st.integers(0, 2**32), frames=st.integers(1, 12), shift=st.integers(1, 5),
    onsets=st.floats(0, 1), weighted=st.booleans(),
)  # fmt: skip
def test_a_shifted_loss_is_that_of_plain_loops(seed, frames, shift, onsets, weighted):
    generator = np.random.default_rng(seed)
    shape = (2, frames, 3)
    logits = generator.normal(scale=4, size=shape)
    targets = np.where(generator.random(shape) < onsets, 1.0, generator.choice([0.0, 0.5], shape))
    weights = generator.uniform(0, 3, 3) if weighted else None
    given_ = (torch.from_numpy(of).float() for of in (logits, targets))
    found = TASK.loss(*given_, None if weights is None else torch.from_numpy(weights).float(), shift)
    assert float(found) == pytest.approx(plain_shifted(logits, targets, weights, shift), rel=1e-4, abs=1e-6)


@given(shift=st.integers(1, 5), off=st.integers(-6, 6))
def test_a_shifted_onset_costs_nothing_as_far_as_it_may_be_off(shift, off):
    targets, logits = torch.zeros(1, 30, 1), torch.full((1, 30, 1), -20.0)
    targets[0, 14:17, 0] = torch.tensor([0.5, 1.0, 0.5])
    logits[0, 15 + off, 0] = 20.0
    cost = float(TASK.loss(logits, targets, None, shift))
    assert (cost < 1e-6) == (abs(off) <= shift)


def test_gradients_of_a_shifted_loss_reach_the_highest_frame_alone():
    targets, logits = torch.zeros(1, 9, 1), torch.zeros(1, 9, 1)
    targets[0, 3:6, 0] = torch.tensor([0.5, 1.0, 0.5])
    logits[0, 5, 0] = 1.0
    logits.requires_grad_()
    TASK.loss(logits, targets, None, 1).backward()
    pushed = logits.grad[0, :, 0] * 9
    assert pushed.tolist() == pytest.approx([0.5, 0.5, 0.5, 0, 0, -1 / (1 + math.e), *[0.5] * 3])


def test_an_average_is_torch_s(data):
    """Its averaged model, at whose steps the decay is ours; statistics of batch normalisation beside the weights."""
    network = network_of(data, "crnn")
    ours = Average(network, 0.6)
    generator = torch.Generator().manual_seed(0)
    at: list[int] = [0]

    def follow(mine: list, other: list, count) -> None:
        get_ema_multi_avg_fn(decay_of(at[0], 0.6))(mine, other, count)

    theirs = AveragedModel(network, multi_avg_fn=follow, use_buffers=True)
    for step in range(30):
        at[0] = step
        with torch.no_grad():
            for value in network.state_dict().values():
                if value.is_floating_point():
                    value.add_(torch.randn(value.shape, generator=generator))
                else:
                    value.fill_(7 * step)
        ours.follow(network, step)
        theirs.update_parameters(network)
    floats = 0
    for (name, mine), other in zip(ours.network.state_dict().items(), theirs.module.state_dict().values(), strict=True):
        if mine.is_floating_point():
            torch.testing.assert_close(mine, other, msg=name)
            floats += "running_mean" in name
        else:
            assert int(mine) == 7 * 29
    assert floats
    assert not any(of.requires_grad for of in ours.network.parameters())


def test_the_average_s_decay_rises_to_its_value():
    decays = [decay_of(step, 0.9) for step in range(200)]
    assert decays[0] == 0
    assert decays == sorted(decays)
    assert decays[90:] == [0.9] * 110


@given(st.integers(1, 10_000))
def test_a_cosine_rises_falls_and_ends_at_a_hundredth(steps):
    factors = [cosine_factor(step, steps) for step in range(steps)]
    warm = max(1, round(0.02 * steps))
    assert factors[:warm] == sorted(factors[:warm])
    assert factors[warm - 1] == 1
    assert factors[warm - 1 :] == sorted(factors[warm - 1 :], reverse=True)
    if steps > 1:
        assert factors[-1] == pytest.approx(0.01)
    assert min(factors) > 0


def test_the_learning_rate_goes_by_steps(shards):
    rates = []

    class Watched(Training):
        def step(self, number, steps, settings):
            super().step(number, steps, settings)
            rates.append((number, steps, self.learning_rate))

    settings = replace(SETTINGS, schedule="cosine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "Training", Watched)
        epochs = list(train(config_of("vit", settings), shards, device="cpu"))
    steps = rates[0][1]
    assert [of[0] for of in rates] == list(range(steps))
    assert [of[2] for of in rates] == [5e-3 * cosine_factor(step, steps) for step in range(steps)]
    assert epochs[-1].metrics["learning_rate"] == pytest.approx(5e-5)


def told(epoch) -> tuple:
    flat = {name: of for name, of in epoch.metrics.items() if not name.endswith(("seconds", "_per_s"))}
    return epoch.number, epoch.is_best, epoch.rule, flat


@pytest.mark.parametrize(
    ("name", "settings"),
    [("crnn", replace(SELECTING, max_epochs=2)), ("vit", SELECTING), ("vit", MIXED)],
    ids=["crnn", "vit", "mixed"],
)
def test_a_selecting_training_that_was_cut_goes_on_to_the_last_bit(shards, name, settings):
    config = config_of(name, settings)
    whole, states = [], []
    for epoch in train(config, shards, device="cpu"):
        whole.append(epoch)
        states.append(epoch.state)
    for cut in range(1, settings.max_epochs):
        state, _ = TrainingState.from_bytes(states[cut - 1].to_bytes({}))
        torch.manual_seed(99)
        *_, last = rest = list(train(config, shards, device="cpu", resume=state))
        assert [told(epoch) for epoch in rest] == [told(epoch) for epoch in whole[cut:]]
        for part, value in whole[-1].checkpoint.weights.items():
            assert torch.equal(last.checkpoint.weights[part], value), part
    assert whole[-1].state.facts["plateau"] is None


def test_the_average_is_validated_and_kept_and_the_weights_go_on(shards):
    config = config_of("crnn", replace(SELECTING, schedule="plateau", calibrate=False, max_epochs=2))
    last, state = [(epoch, epoch.state) for epoch in train(config, shards, device="cpu")][-1]
    assert all(state.tensors[f"average.{name}"] is of for name, of in last.checkpoint.weights.items())
    assert not torch.equal(state.tensors["network.head.weight"], state.tensors["average.head.weight"])
    counted = next(name for name in last.checkpoint.weights if name.endswith("num_batches_tracked"))
    assert torch.equal(state.tensors[f"network.{counted}"], state.tensors[f"average.{counted}"])
    score = evaluate(last.checkpoint, "mdb", shards, split="validation", device="cpu")
    assert last.metrics["validation_micro_f1"] == pytest.approx(score.micro_f1, abs=0.05)


def test_averages_leave_the_training_itself_as_it_is(shards):
    (*_, plain), (*_, averaged) = (
        train(config_of("vit", replace(SETTINGS, average_decay=decay)), shards, device="cpu") for decay in (0.0, 0.99)
    )
    assert plain.metrics["train_loss"] == averaged.metrics["train_loss"]
    assert plain.metrics["validation_loss"] != averaged.metrics["validation_loss"]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (SETTINGS, replace(SETTINGS, average_decay=0.9), "'average.deviation' is missing, not float32"),
        (replace(SETTINGS, average_decay=0.9), SETTINGS, r"'average.deviation' is float32 \(\), not there"),
        (SETTINGS, replace(SETTINGS, schedule="cosine"), "its learning rate went by another schedule"),
        (replace(SETTINGS, schedule="cosine"), SETTINGS, "its learning rate went by another schedule"),
    ],
)
def test_a_state_of_other_settings_is_refused(shards, before, after, words):
    state = next(epoch.state for epoch in train(config_of("vit", before), shards, device="cpu"))
    with pytest.raises(Refused, match=words):
        next(train(config_of("vit", after), shards, device="cpu", resume=state))


def test_a_state_of_an_earlier_version_is_taken(shards):
    config = config_of("vit", SETTINGS)
    epochs = train(config, shards, device="cpu")
    state, second = next(epochs).state, next(epochs)
    older = {name: of for name, of in state.facts.items() if name != "best_epoch"}
    read, _ = TrainingState.from_bytes(replace(state, facts=older).to_bytes({}))
    resumed = next(train(config, shards, device="cpu", resume=read))
    assert resumed.metrics["train_loss"] == second.metrics["train_loss"]


def test_it_stops_when_the_score_stands_still(shards, monkeypatch):
    scores = iter([0.1, 0.3, 0.2, 0.3, 0.25, 0.9])
    monkeypatch.setattr(
        loop, "validate",
        lambda *_: ({"validation_loss": 1 / (1 + next(losses)), "validation_micro_f1": next(scores)}, PeakRule()),
    )  # fmt: skip
    losses = iter(range(100))  # falling all the while
    settings = replace(SETTINGS, max_epochs=20, stop_patience_epochs=3, stop_on="score")
    epochs = list(train(config_of("vit", settings), shards, device="cpu"))
    assert [epoch.is_best for epoch in epochs] == [True, True, False, False, False]


def test_the_rule_is_fitted_to_the_validation_and_kept(shards):
    settings = replace(SETTINGS, max_epochs=25, learning_rate=1e-2, calibrate=True)
    for epoch in train(config_of("vit", settings), shards, device="cpu"):
        metrics = epoch.metrics
        assert metrics["validation_micro_f1"] >= metrics["validation_plain_micro_f1"]
        assert epoch.checkpoint.peak_rule == epoch.rule
    assert "validation_plain_micro_f1" not in next(train(config_of("vit", SETTINGS), shards, device="cpu")).metrics


def test_the_task_fits_its_rule_to_whole_onsets():
    halves = torch.zeros(400, 2, dtype=torch.uint8)
    halves[50:350:10] = ONSET
    halves[51:351:10] = 1
    activations = (halves == ONSET) * 0.4
    rule = TASK.calibrate(activations, halves)
    assert rule == calibrate(activations, halves == ONSET) != PeakRule()
    assert TASK.score(activations, halves, ("a", "b"), rule)["micro_f1"] == 1
    assert TASK.score(activations, halves, ("a", "b"), None)["micro_f1"] == 0


def test_class_weights_are_scaled_down_to_one_at_least(data, monkeypatch):
    taken = []
    monkeypatch.setattr(loop, "train_epoch", lambda *given_: taken.append(given_[3]) or 1.0)
    for scale in (1.0, 0.1):
        next(fit(network_of(data, "vit"), TASK, data, replace(SETTINGS, weight_scale=scale)))
    torch.testing.assert_close(taken[0] * 0.1, taken[1])


def test_windows_are_as_prepared_unless_the_settings_change_them(data):
    assert isinstance(mixing.training_windows(data, SETTINGS, CPU), MappedWindows)
    for change in ({"augmentation": Augmentation(gain_db=3)}, {"level": "window"}, {"epoch_windows": 10}):
        assert mixing.training_windows(data, replace(SETTINGS, **change), CPU).kind == "mixed"


def test_policies_of_level_have_one_list():
    assert set(LEVELS) == set(levels.LEVELS)


def test_an_epoch_has_as_many_steps_as_its_windows_need(data, monkeypatch):
    class Few(MappedWindows):
        def __len__(self):
            return 10

        def shuffled(self, batch_size, generator):
            for size in (4, 4, 2):
                yield next(super().shuffled(size, generator))

    monkeypatch.setattr(mixing, "training_windows", lambda data, settings, device, share: Few(data.train, device))
    settings = replace(SETTINGS, epoch_windows=10, schedule="cosine", max_epochs=2)
    epochs = list(fit(network_of(data, "vit"), TASK, data, settings))
    assert epochs[-1].metrics["learning_rate"] == pytest.approx(5e-5)
    assert epochs[-1].snapshot._facts["learning_rates"] == [epochs[-1].metrics["learning_rate"]]


def test_a_class_is_weighed_where_it_sounds_alone():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 30, 3, generator=generator)
    targets = torch.randint(0, 3, (2, 30, 3), generator=generator) / 2
    weights = torch.tensor([4.0, 0.5, 9.0])
    expected = 0.0
    for window, frame, of in np.ndindex(2, 30, 3):
        x, t = float(logits[window, frame, of]), float(targets[window, frame, of])
        plain = max(x, 0) - x * t + math.log1p(math.exp(-abs(x)))
        expected += plain * ((1 - t) + t * max(float(weights[of]), 1))
    found = drum_onsets.loss(logits, targets, weights, weigh="classes")
    assert float(found) == pytest.approx(expected / 60, rel=1e-5)
    assert float(drum_onsets.loss(logits, targets, None, weigh="classes")) == pytest.approx(
        float(drum_onsets.loss(logits, targets, None))
    )
