"""The VAE's terms against closed forms and a library's distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from vaewatch.training.vae.elbo import (
    autoencoder_loss,
    elbo,
    importance_weighted_bound,
    log_importance_weights,
)
from vaewatch.training.vae.likelihoods import Gaussian
from vaewatch.training.vae.noise import noise_deviation, noise_deviations, unimodal_kurtosis
from vaewatch.training.vae.vae import VAE, Posterior, StackedLinear


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def vae() -> VAE:
    return VAE(members=3, features=5, latent=2, width=8, generator=generator())


def test_a_stacked_linear_is_a_loop_over_members():
    layer = StackedLinear((3, 4, 2), 1.0, generator())
    x = torch.randn(3, 7, 4, generator=generator(1))
    loop = torch.stack([x[m] @ layer.weight[m] + layer.bias[m] for m in range(3)])
    torch.testing.assert_close(layer(x), loop)


def test_kl_is_that_of_two_normals():
    mu, logvar = torch.randn(2, 6, 3, generator=generator()), torch.randn(2, 6, 3)
    law = Normal(mu, (0.5 * logvar).exp())
    want = kl_divergence(law, Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(Posterior(mu, logvar).kl(), want)


def test_reparameterised_draws_have_the_posterior_s_moments():
    posterior = Posterior(torch.full((1, 1, 1), 2.0), torch.full((1, 1, 1), math.log(9.0)))
    z = posterior.rsample(torch.randn(200_000, 1, 1, generator=generator()))
    assert z.mean().item() == pytest.approx(2.0, abs=0.05)
    assert z.std().item() == pytest.approx(3.0, abs=0.05)


def test_log_prob_is_that_of_a_normal():
    mean, log_sigma, x = (torch.randn(2, 4, 3, generator=generator(i)) for i in range(3))
    law = Gaussian(mean, log_sigma[:, :1].clamp(min=-2))
    want = Normal(mean, law.log_sigma.exp()).log_prob(x).sum(-1)
    torch.testing.assert_close(law.log_prob(x), want)


def test_sigma_has_a_floor():
    law = Gaussian(torch.zeros(1, 1, 1), torch.full((1, 1, 1), -100.0))
    want = Normal(0.0, 0.05).log_prob(torch.ones(1, 1))
    torch.testing.assert_close(law.log_prob(torch.ones(1, 1, 1)), want)


def test_members_do_not_touch_each_other(vae: VAE):
    x = torch.randn(3, 4, 5, generator=generator())
    before = vae.decode(vae.encode(x).mu).mean
    x[1] += 1
    after = vae.decode(vae.encode(x).mu).mean
    torch.testing.assert_close(before[[0, 2]], after[[0, 2]])
    assert not torch.allclose(before[1], after[1])


def test_some_of_the_members_are_those_members(vae: VAE):
    x = torch.randn(1, 7, vae.features, generator=generator())
    whole = vae.encode(x.expand(vae.members, -1, -1))
    chosen = [2, 0]
    some = vae.only(chosen).encode(x.expand(2, -1, -1))
    torch.testing.assert_close(some.mu, whole.mu[chosen])
    torch.testing.assert_close(some.logvar, whole.logvar[chosen])


def test_gradients_reach_every_parameter_through_the_draw(vae: VAE):
    x = torch.randn(3, 4, 5, generator=generator())
    elbo(vae, x, x, torch.randn(3, 4, 2)).loss().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in vae.parameters())


def test_beta_weighs_the_kl_alone(vae: VAE):
    x, eps = torch.randn(3, 4, 5, generator=generator()), torch.zeros(3, 4, 2)
    terms = elbo(vae, x, x, eps)
    apart = terms.loss(3.0) - terms.loss(1.0)
    torch.testing.assert_close(apart, 2 * terms.kl.mean(1).sum())


def test_the_autoencoder_has_no_kl_and_no_draw(vae: VAE):
    x = torch.randn(3, 4, 5, generator=generator())
    terms = autoencoder_loss(vae, x, x)
    assert terms.kl.abs().max() == 0
    torch.testing.assert_close(
        terms.reconstruction_nll, elbo(vae, x, x, torch.zeros(3, 4, 2)).reconstruction_nll
    )


def linear_gaussian() -> tuple[VAE, torch.Tensor, float]:
    """A VAE whose posterior is the prior and whose decoder ignores z: log p(x) is known."""
    vae = VAE(members=1, features=3, latent=2, width=4, generator=generator())
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.zero_()
    x = torch.tensor([[[0.3, -1.0, 2.0]]])
    return vae, x, float(Normal(0.0, 1.0).log_prob(x).sum())


def test_the_bound_is_exact_where_the_posterior_is():
    vae, x, log_p = linear_gaussian()
    for draws in (1, 10):
        got = importance_weighted_bound(log_importance_weights(vae, x, draws, generator()))
        assert got.item() == pytest.approx(log_p, abs=1e-5)


def test_the_bound_rises_with_its_draws(vae: VAE):
    x = torch.randn(3, 64, 5, generator=generator())
    weights = [log_importance_weights(vae, x, k, generator(k)) for k in (1, 8, 64)]
    bounds = [importance_weighted_bound(w).mean() for w in weights]
    assert bounds[0] < bounds[1] < bounds[2]


def test_the_bound_with_one_draw_is_the_elbo_on_average(vae: VAE):
    x = torch.randn(3, 1, 5, generator=generator()).expand(3, 4000, 5)
    terms = elbo(vae, x, x, torch.randn(3, 4000, 2, generator=generator(1)))
    want = -(terms.reconstruction_nll + terms.kl).mean(1)
    got = importance_weighted_bound(log_importance_weights(vae, x, 1, generator(2))).mean(1)
    torch.testing.assert_close(got, want, rtol=0.02, atol=0.02)


def test_heavy_tails_get_more_noise():
    rng = np.random.default_rng(0)
    normal, heavy = rng.normal(size=20_000), rng.laplace(size=20_000) ** 3
    two = np.where(rng.random(1000) < 0.5, 0.0, 1.0)
    assert noise_deviation(heavy) > noise_deviation(normal)
    assert noise_deviation(two) == 0.3 == noise_deviation(np.zeros(10))


def test_values_that_differ_by_the_last_bit_have_a_noise():
    """One value lies so far out that the others are all but the same in single precision."""
    near = np.float32(-0.0447) + np.spacing(np.float32(0.0447)) * (np.arange(600) % 40)
    values = np.append(near, 24.0).astype(np.float32)
    assert 0.1 <= noise_deviation(values) <= 3.0


def test_the_noise_of_many_records_is_that_of_some_of_them():
    rng = np.random.default_rng(0)
    x = np.stack([rng.normal(size=100_000), rng.laplace(size=100_000) ** 3], 1).astype(np.float32)
    got = noise_deviations(x)
    assert got == pytest.approx([noise_deviation(column) for column in x.T], rel=0.05)
    np.testing.assert_array_equal(noise_deviations(x[::5]), got)
    few = x[:15_000]
    assert noise_deviations(few)[0] == np.float32(noise_deviation(few[:, 0]))


def test_unimodal_kurtosis_ignores_where_the_modes_are():
    rng = np.random.default_rng(0)
    one = rng.normal(size=50_000)
    assert unimodal_kurtosis(one) == pytest.approx(unimodal_kurtosis(-one), rel=0.01)
    flat = np.arange(2000.0)
    assert unimodal_kurtosis(flat) == pytest.approx(1.8, abs=0.01)  # a uniform law's
