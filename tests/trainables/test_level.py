"""The level at which a network hears a window: the same however loud it was recorded, but for silence."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.level import (
    LEVELS,
    QUIETEST,
    REFERENCE,
    SOUNDING,
    WHITENED_REFERENCE,
    WHITENING,
    at_level,
    bands_of,
    levelled,
    magnitudes_of,
    whitened,
)


def sound(seed: int, frames: int = 30) -> torch.Tensor:
    """Magnitudes (2, T, 6), none silent."""
    return 0.1 + 5 * torch.rand(2, frames, 6, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 2**32), st.floats(-30, 30))
def test_how_loud_a_window_is_does_not_matter(seed, gain_db):
    torch.testing.assert_close(levelled(sound(seed) * 10 ** (gain_db / 20)), levelled(sound(seed)), rtol=1e-4, atol=0)


@given(st.integers(0, 2**32), st.integers(0, 200))
def test_the_sounding_frames_mean_is_the_reference_whatever_silence_is_around(seed, silent_frames):
    quiet = torch.full((2, silent_frames, 6), 0.5 * SOUNDING * 0.1)
    found = levelled(torch.cat((sound(seed), quiet), dim=1))
    torch.testing.assert_close(found[:, :30].mean(dim=(1, 2)), torch.full((2,), REFERENCE), rtol=1e-4, atol=0)


@given(st.floats(0, 1))
def test_what_is_quieter_than_the_quietest_stays_so(part):
    found = levelled(torch.full((1, 9, 4), part * QUIETEST * REFERENCE))
    torch.testing.assert_close(found, torch.full((1, 9, 4), part * REFERENCE), rtol=1e-4, atol=1e-9)


@given(st.floats(-40, 40))
def test_a_window_has_one_factor(gain_db):
    mixed = torch.cat((sound(1)[:1], sound(2)[:1] * 10 ** (gain_db / 20)))
    factors = levelled(mixed) / mixed
    for of in factors:
        torch.testing.assert_close(of, of[:1, :1].expand_as(of), rtol=1e-4, atol=0)


def test_magnitudes_and_bands_are_each_other_s_inverse():
    magnitudes = 10 ** torch.linspace(-4, 3, 500)
    torch.testing.assert_close(magnitudes_of(bands_of(magnitudes)), magnitudes, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(bands_of(magnitudes), torch.log10(1 + magnitudes.double()).float())
    bands = torch.ones(3, 4)
    magnitudes_of(bands)
    assert torch.equal(bands, torch.ones(3, 4))  # they are left as they were


@pytest.mark.parametrize("policy", LEVELS)
def test_gains_of_windows_come_after_the_policy(policy):
    bands = bands_of(sound(3))
    found = at_level(bands, policy, torch.tensor([-6.0, 3.0]))
    apart = torch.cat([at_level(bands[i : i + 1], policy, gain_db) for i, gain_db in enumerate((-6.0, 3.0))])
    torch.testing.assert_close(found, apart)
    ratio = magnitudes_of(found) / magnitudes_of(at_level(bands, policy))
    torch.testing.assert_close(ratio[0], torch.full_like(ratio[0], 10 ** (-6 / 20)), rtol=1e-3, atol=0)


def test_silence_stays_silence_and_is_finite():
    nothing = torch.zeros(2, 9, 84, dtype=torch.float16)
    for policy in LEVELS:
        assert not at_level(nothing, policy, 12.0).any()


def test_nothing_is_done_where_nothing_is_asked():
    bands = torch.rand(2, 3, 4)
    assert at_level(bands, "as_recorded") is bands


def equalised(seed: int, most_db: float) -> torch.Tensor:
    """A factor (6,) for each band."""
    return 10 ** ((torch.rand(6, generator=torch.Generator().manual_seed(seed)) - 0.5) * most_db / 10)


@given(st.integers(0, 2**32), st.floats(-30, 30))
def test_whitened_windows_do_not_depend_on_how_loud_they_were(seed, gain_db):
    louder = whitened(sound(seed) * 10 ** (gain_db / 20))
    torch.testing.assert_close(louder, whitened(sound(seed)), rtol=1e-4, atol=0)
    torch.testing.assert_close(louder.mean(dim=(1, 2)), torch.full((2,), WHITENED_REFERENCE), rtol=1e-4, atol=0)


@given(st.integers(0, 2**32), st.floats(0, 12))
def test_whitening_halves_an_equaliser_in_db(seed, most_db):
    curve = equalised(seed, most_db)
    change = (whitened(sound(seed) * curve) / whitened(sound(seed)))[0, 0].log()
    left = change - change.mean()
    half = (curve.log() - curve.log().mean()) * (1 - WHITENING)
    torch.testing.assert_close(left, half, rtol=0.02, atol=0.02)


def test_a_band_without_sound_is_not_blown_up():
    silent = sound(0).clone()
    silent[..., 0] = 0
    faint = sound(0).clone()
    faint[..., 0] *= 1e-6
    for window in (silent, faint):
        assert float(whitened(window)[..., 0].max()) < 0.02 * float(whitened(window).mean())
