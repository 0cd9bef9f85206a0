r"""Mirror potentials of networks: $\Phi(z)$, $\nabla\Phi$, $\nabla^2\Phi = K^{-1}$, and the warped one of a neuron."""

from __future__ import annotations

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...citations import in_words
from ...display.text import card, key_values
from ..entrywise.neuron import neuron_operator, squared_norms
from ..entrywise.roots import chain_metric
from ..guarded import radius
from . import scalar_potentials as scalar


class AbstractPotential(eqx.Module):
    r"""A potential $\Phi$ such that training obeys $\frac{d}{dt} \nabla\Phi(z) = -\omega(z)\,\nabla f(z)$.

    $\omega = 1$ for a mirror flow. Methods take $z$ in the shape of $\varphi(\theta)$. They are compatible with vmap
    and grad, and with jit in the way of Equinox: `eqx.filter_jit(potential.gradient)`, or `jax.jit` of a function that
    calls it.
    """

    arch: eqx.AbstractVar[Architecture]
    start: eqx.AbstractVar[Any]

    @property
    def exists(self) -> bool:
        """Always true; the other answer of `mirror_potential` says false."""
        return True

    @property
    @abc.abstractmethod
    def kind(self) -> str:
        """Mirror flow or warped mirror flow, in words."""

    @property
    @abc.abstractmethod
    def statement(self) -> str:
        """The potential in LaTeX."""

    @property
    @abc.abstractmethod
    def source(self) -> str:
        """Where it comes from."""

    @abc.abstractmethod
    def __call__(self, z) -> Any:
        r"""$\Phi(z)$, a scalar."""

    @abc.abstractmethod
    def gradient(self, z) -> Any:
        r"""$\nabla\Phi(z)$ in the shape of $z$."""

    @abc.abstractmethod
    def hessian(self, z) -> Any:
        r"""$\nabla^2\Phi(z)$ as a square matrix over the raveled $z$; it equals $\omega(z) K(z)^{-1}$."""

    @abc.abstractmethod
    def metric(self, z) -> Any:
        r"""$K(z) = \partial\varphi\,\partial\varphi^\top$ as a square matrix over the raveled $z$."""

    @abc.abstractmethod
    def warp(self, z) -> Any:
        r"""$\omega(z)$, a scalar: 1 for a mirror flow."""

    def bregman(self, z, reference=None):
        r"""$D_\Phi(z, z_0) = \Phi(z) - \Phi(z_0) - \langle \nabla\Phi(z_0), z - z_0 \rangle$; $z_0$ is the start."""
        origin = self.start if reference is None else reference
        return self(z) - self(origin) - jnp.sum(self.gradient(origin) * (z - origin))

    def __str__(self) -> str:
        return key_values(
            {
                "network": self.arch.name,
                "kind": self.kind,
                "potential": self.statement,
                "source": in_words(self.source),
            }
        )

    def _repr_html_(self) -> str:
        facts = {"kind": self.kind, "source": in_words(self.source)}
        return card(f"Mirror potential of {self.arch.name}", formulas=self.statement, facts=facts)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.arch.name}: {self.kind})"

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.statement}$"


class AbstractScalars(eqx.Module):
    """Potentials of scalars, entry by entry, of the bare product or difference p of an entrywise flow."""

    @abc.abstractmethod
    def value(self, p) -> Any:
        r"""$\Phi$ of every entry."""

    @abc.abstractmethod
    def slope(self, p) -> Any:
        r"""$\Phi'$ of every entry."""

    @abc.abstractmethod
    def speed(self, p) -> Any:
        r"""$K = 1/\Phi''$ of every entry."""

    @property
    @abc.abstractmethod
    def statement(self) -> str:
        """The potential in LaTeX."""


class EntropyScalars(AbstractScalars):
    r"""$\Phi' = a \operatorname{asinh}(p/s)$: hyperbolic entropy of width $s$, or $a \log|p|$ where $s = 0$."""

    width: Any
    factor: float = eqx.field(static=True)

    def value(self, p):
        return self.factor * scalar.entropy(p, self.width)

    def slope(self, p):
        return self.factor * scalar.entropy_gradient(p, self.width)

    def speed(self, p):
        return radius(p, self.width) / self.factor

    @property
    def statement(self) -> str:
        if self.factor == 0.5:
            return (
                r"\Phi(z) = \tfrac14 \sum_i \left[ 2 z_i \operatorname{asinh}(2 z_i/|\lambda_i|) - "
                r"\sqrt{4 z_i^2 + \lambda_i^2} + |\lambda_i| \right],\quad \lambda = u^2 - v^2"
            )
        return (
            r"\Phi(z) = \tfrac14 \sum_i \left[ z_i \operatorname{asinh}(z_i/2|\kappa_i|) - "
            r"\sqrt{z_i^2 + 4\kappa_i^2} + 2|\kappa_i| \right],\quad \kappa = u \odot v"
        )


class PowersScalars(AbstractScalars):
    r"""$\Phi' = y$, the dual coordinate of $u^L - v^L$; $\Phi = p\,y - (u^2 + v^2)/(2L)$."""

    a: Any
    b: Any
    exponent: int = eqx.field(static=True)

    def value(self, p):
        y = self.slope(p)
        u, v = scalar.powers_weights(y, self.a, self.b, self.exponent)
        return p * y - (u**2 + v**2) / (2 * self.exponent)

    def slope(self, p):
        return scalar.powers_dual(p, self.a, self.b, self.exponent)

    def speed(self, p):
        u, v = scalar.powers_weights(self.slope(p), self.a, self.b, self.exponent)
        power = 2 * self.exponent - 2
        return self.exponent**2 * (u**power + v**power)

    @property
    def statement(self) -> str:
        L = self.exponent
        return (
            rf"\Phi(z) = \sum_i \left[ z_i y_i - \tfrac{{1}}{{{2 * L}}} (u_i^2 + v_i^2) \right],\quad "
            rf"u_i^{{{L}}} - v_i^{{{L}}} = z_i,\ u_i^{{{2 - L}}} = u_{{0,i}}^{{{2 - L}}} - {L * (L - 2)} y_i,\ "
            rf"v_i^{{{2 - L}}} = v_{{0,i}}^{{{2 - L}}} + {L * (L - 2)} y_i"
        )


class ChainScalars(AbstractScalars):
    r"""$\Phi' = \int_{p_0}^p dz/K$ of scalar chains; $\Phi = p\,\Phi' - t/2$."""

    origin: Any
    gaps: Any

    def value(self, p):
        return p * self.slope(p) - scalar.chain_conjugate(p, self.gaps)

    def slope(self, p):
        return scalar.chain_gradient(p, self.origin, self.gaps)

    def speed(self, p):
        return chain_metric(p, self.gaps)

    @property
    def statement(self) -> str:
        return (
            r"\Phi(z) = \sum_i \left[ z_i \Phi_i'(z_i) - \tfrac12 t_i \right],\quad \Phi_i'(z) = \int_{z_{0,i}}^{z} "
            r"\frac{dz}{P_i'(t)},\quad P_i(t) = \prod_l (t + c_{l,i}) = z^2"
        )


class MirrorPotential(AbstractPotential):
    r"""A separable potential, $\Phi(z) = \sum_i \Phi_i((z_i - o_i)/c_i)$, of an entrywise flow.

    Made by `mirror_potential`. Where a law vanishes, an entry keeps its sign and $\Phi_i$ is for that sign only.
    """

    arch: Architecture
    start: Any
    scalars: AbstractScalars
    scale: np.ndarray
    offset: np.ndarray
    origin: str = eqx.field(static=True)

    @property
    def kind(self) -> str:
        return "mirror flow, d/dt grad Phi(z) = -grad f(z)"

    @property
    def statement(self) -> str:
        return self.scalars.statement

    @property
    def source(self) -> str:
        return self.origin

    def __call__(self, z):
        return jnp.sum(self.scalars.value(self._bare(z)))

    def gradient(self, z):
        return self.scalars.slope(self._bare(z)) / self.scale

    def hessian(self, z):
        return jnp.diag(jnp.ravel(1 / (self.scale**2 * self.scalars.speed(self._bare(z)))))

    def metric(self, z):
        return jnp.diag(jnp.ravel(self.scale**2 * self.scalars.speed(self._bare(z))))

    def warp(self, z):
        return jnp.ones(())

    def _bare(self, z):
        return (z - self.offset) / self.scale


class WarpedPotential(AbstractPotential):
    r"""The potential $Q$ of one neuron $z = o + c\,u v$, $u$ a scalar: a mirror flow in the time $\int |u|\,dt$.

    $\nabla Q = |v|\, p/|p|$ with $p = u v$ is $\pm v$ itself, $|v|^2 = (\rho - \lambda)/2$ and
    $\rho = \sqrt{\lambda^2 + 4|p|^2}$, so that $\frac{d}{dt}\nabla Q(z) = -|u|\,\nabla f(z)$ while $u \ne 0$.
    """

    arch: Architecture
    start: Any
    gap: Any
    scale: np.ndarray
    offset: np.ndarray

    @property
    def kind(self) -> str:
        return "warped mirror flow, d/dt grad Q(z) = -|u| grad f(z)"

    @property
    def statement(self) -> str:
        return (
            r"Q(z) = |z|\,|v| - \tfrac13 |u|^3,\quad \nabla Q(z) = |v|\, z/|z|,\quad 2|u|^2 = \rho + \lambda,\ "
            r"2|v|^2 = \rho - \lambda,\ \rho = \sqrt{\lambda^2 + 4|z|^2},\ \lambda = u^2 - |v|^2"
        )

    @property
    def source(self) -> str:
        return "derived here; compare [azulay2021implicit]"

    def __call__(self, z):
        square = jnp.sum(self._bare(z) ** 2)
        u2, v2 = squared_norms(square, self.gap)
        return _root(square * v2) - _root(u2) ** 3 / 3

    def gradient(self, z):
        p = self._bare(z)
        # |v| / |p| = 1 / |u|, which has no division by zero while u is not 0.
        return p / (self.warp(z) * self.scale)

    def hessian(self, z):
        p = jnp.ravel(self._bare(z))
        u2, v2 = squared_norms(jnp.sum(p**2), self.gap)
        # Derivative of p/|u|: d|u|^2 = 2 p.dp / (|u|^2 + |v|^2), since |u|^2 |v|^2 = |p|^2 with a constant difference.
        outer = p[:, None] * p[None, :] / (u2 * (u2 + v2))
        return (jnp.eye(p.shape[0], dtype=p.dtype) - outer) / (_root(u2) * self.scale**2)

    def metric(self, z):
        p = jnp.ravel(self._bare(z))
        columns = jax.vmap(lambda g: neuron_operator(p[None, :], g[None, :], self.gap)[0])
        return self.scale**2 * columns(jnp.eye(p.shape[0], dtype=p.dtype))

    def warp(self, z):
        u2, _ = squared_norms(jnp.sum(self._bare(z) ** 2), self.gap)
        return _root(u2)

    def _bare(self, z):
        return (z - self.offset) / self.scale


def _root(x):
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0)
