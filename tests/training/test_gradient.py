"""The gradient that is written out, against the one that autograd finds of the ELBO."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor

from vaewatch.training.vae.elbo import Elbo, autoencoder_loss, elbo
from vaewatch.training.vae.likelihoods import LOG_SIGMA_FLOOR
from vaewatch.training.vae.step.flat import Flat
from vaewatch.training.vae.step.gradient import Gradient
from vaewatch.training.vae.step.product import affine, product
from vaewatch.training.vae.threads import computing_on
from vaewatch.training.vae.vae import LOGVAR_RANGE, VAE

M, B, D, L, H = 3, 17, 6, 4, 9


def normals(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def vae() -> VAE:
    """A stack of which one sigma and some of the variances are clamped."""
    vae = VAE(members=M, features=D, latent=L, width=H, generator=torch.Generator()).double()
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter += 0.3 * normals(*parameter.shape, seed=parameter.numel())
        vae.log_sigma[:, :, 0] = LOG_SIGMA_FLOOR - 1
        vae.logvar.bias[:, :, 0] = LOGVAR_RANGE[0] - 3
        vae.logvar.bias[:, :, 1] = LOGVAR_RANGE[1] + 3
        vae.logvar.bias[:, :, 2] = LOGVAR_RANGE[1]  # clamped for about half of the records
    return vae


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    x = normals(M, B, D, seed=1)
    return x, x + 0.3 * normals(M, B, D, seed=2), normals(M, B, L, seed=3)


def by_autograd(
    vae: VAE, x: Tensor, noisy: Tensor, eps: Tensor | None, beta: float
) -> tuple[Elbo, dict[str, Tensor]]:
    vae = copy.deepcopy(vae)
    terms = autoencoder_loss(vae, x, noisy) if eps is None else elbo(vae, x, noisy, eps)
    terms.loss(beta).backward()  # type: ignore[no-untyped-call]
    none = torch.zeros(())
    return terms, {name: none if p.grad is None else p.grad for name, p in vae.named_parameters()}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("model", "beta"), [("vae", 1.0), ("vae", 0.0), ("vae", 2.5), ("ae", 1.0)]
)
def test_it_is_the_gradient_of_the_elbo(
    model: str, beta: float, threads: int, vae: VAE, batch: tuple[Tensor, Tensor, Tensor]
):
    x, noisy, eps = batch
    drawn = eps if model == "vae" else None
    terms, want = by_autograd(vae, x, noisy, drawn, beta)
    Flat.of(vae)
    gradient = Gradient(vae, beta)
    with computing_on(threads):
        gradient.write(x, noisy, drawn)
    for name, parameter in vae.named_parameters():
        assert parameter.grad is not None
        expected = want[name].expand_as(parameter)
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-10, atol=1e-13, msg=name)
    got = gradient.terms()
    torch.testing.assert_close(got.reconstruction_nll, terms.reconstruction_nll)
    torch.testing.assert_close(got.kl, terms.kl)


def test_the_last_gradient_is_not_read(vae: VAE, batch: tuple[Tensor, Tensor, Tensor]):
    flat = Flat.of(vae)
    gradient = Gradient(vae, 1.0)
    gradient.write(*batch)
    want = flat.gradients.clone()
    flat.gradients.fill_(math.nan)
    gradient.write(*batch)
    torch.testing.assert_close(flat.gradients, want, rtol=0, atol=0)


def test_its_terms_are_those_before_the_weights_changed(
    vae: VAE, batch: tuple[Tensor, Tensor, Tensor]
):
    flat = Flat.of(vae)
    gradient = Gradient(vae, 1.0)
    gradient.write(*batch)
    want = elbo(vae, *batch)
    flat.weights.add_(1)
    torch.testing.assert_close(gradient.terms().reconstruction_nll, want.reconstruction_nll)
    torch.testing.assert_close(gradient.terms().kl, want.kl)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_product_is_a_loop_over_members(threads: int):
    a, b = normals(M, B, D, seed=1), normals(M, H, D, seed=2)
    out = torch.empty(M, D, D, dtype=torch.float64)
    with computing_on(threads):
        torch.testing.assert_close(
            product(a, b.mT), torch.stack([a[m] @ b[m].T for m in range(M)])
        )
        product(a.mT, a, out=out)
    torch.testing.assert_close(out, torch.stack([a[m].T @ a[m] for m in range(M)]))


@pytest.mark.parametrize("threads", [1, 2])
def test_an_affine_map_is_the_same_whether_autograd_follows_it(threads: int):
    x, weight, bias = normals(M, B, D, seed=1), normals(M, D, H, seed=2), normals(M, 1, H, seed=3)
    weight.requires_grad_()
    followed = affine(x, weight, bias)
    with computing_on(threads), torch.no_grad():
        alone = affine(x, weight, bias)
    assert followed.requires_grad and not alone.requires_grad
    torch.testing.assert_close(alone, followed.detach())
    torch.testing.assert_close(alone, torch.einsum("mbd,mdh->mbh", x, weight.detach()) + bias)


def test_weights_that_have_diverged_give_no_warning(
    vae: VAE, batch: tuple[Tensor, Tensor, Tensor]
):
    flat = Flat.of(vae)
    flat.weights.fill_(math.inf)
    Gradient(vae, 1.0).write(*batch)
    assert not flat.gradients.isfinite().all()
