r"""`MeanFieldConfig`: which network is trained how, in the limit of infinite size at fixed ratios."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np

from ..._checks import integer, real_array, real_number

CONVENTIONS = ("mup", "ntk", "plain_mean_field")
DATA_MODES = ("fixed", "onepass")
#: The initial function has variance 1/(gamma0^2 nu), which must be a double.
SMALLEST = 1e-300
RANGES: dict[str, dict[str, Any]] = {
    "gamma0": {"above": 0},
    "nu": {"above": 0, "finite": False},
    "alpha": {"above": 0, "finite": False},
    "sigma": {"minimum": 0},
    "batch_fraction": {"above": 0, "maximum": 1},
    "momentum": {"minimum": 0, "below": 1},
    "weight_decay": {"minimum": 0},
}


@dataclasses.dataclass(frozen=True)
class MeanFieldConfig:
    r"""Gradient descent on a random deep linear network whose input dimension $D$, width $N$ and data $P$ diverge.

    With $W^0$ ($N \times D$), $W^1 \dots W^{L-1}$ ($N \times N$) and $w$ ($N$), independent entries of variance
    $s_0^2, \dots, s_L^2$,

    $$f(x) = \frac{\sqrt D}{\gamma_0 N}\, w \cdot \frac{W^{L-1}}{\sqrt N} \cdots \frac{W^1}{\sqrt N}
    \frac{W^0 x}{\sqrt D}, \qquad y(x) = \frac{\beta_* \cdot x}{\sqrt D} + \sigma\epsilon,
    \qquad x \sim N(0, \mathrm{diag}\,\lambda),$$

    trained by plain gradient descent on $\frac{1}{2P}\sum_\mu (y_\mu - f(x_\mu))^2$ with raw learning rate
    $\eta\gamma_0^2 N$. Reported losses carry no factor ½. A **residual** network has
    $h^{l+1} = h^l + (b/\sqrt{L-1})\, W^l h^l/\sqrt N$ in place of the inner products, for $l = 1 \dots L-1$.

    Args:
        T: number of recorded times $t = 0 \dots T-1$; time $t$ is the state after $t$ updates.
        L: number of hidden layers; the network has $L+1$ weight matrices.
        eta: learning rate, of order 1; or a schedule, T numbers (the last is not used).
        gamma0: richness. Small: the features hardly move ("lazy"); of order 1 and above: they are learned.
        nu: width ratio $N/D$; `inf` for a network much wider than its input.
        alpha: data ratio $P/D$, or batch size over $D$ for one-pass training; `inf` trains on the population.
        sigma: standard deviation of the label noise.
        data: `"fixed"`: one training set, used at every step; `"onepass"`: a fresh batch at every step.
        batch_fraction: share of the training set that each step draws (independently); 1 is full batch.
        momentum: $\mu$ of heavy ball, $m \leftarrow \mu m - \eta\nabla$, $\theta \leftarrow \theta + m$.
        weight_decay: $c$ in $W \leftarrow (1 - \eta c) W - \dots$, on all layers.
        lam: eigenvalues $\lambda_k$ of the input covariance; isotropic by default.
        p: share of the dimensions that each eigenvalue takes, summing to 1; equal shares by default.
        teacher2: $b_k^2$, mean square of the entries of $\beta_*$ in each eigenspace; 1 by default.
        centered: train $f - f_0$, the network minus its initial function. Needed for the lazy limit at finite `nu`.
        init_std: $s_0 \dots s_L$, the standard deviations of the initial weights; all 1 by default.
        residual: branch scale $b$ of a residual network, or `None` for a plain one.

    Raises:
        ValueError: a value out of its range, or a combination that has no meaning; the message names the argument.

    Example:
        >>> config = MeanFieldConfig.mup(T=61, L=2, eta=0.05, nu=1.0, alpha=2.0, sigma=0.5)
        >>> config.replace(nu=4.0).nu
        4.0
    """

    T: int
    L: int
    eta: float | tuple[float, ...]
    gamma0: float = 1.0
    nu: float = math.inf
    alpha: float = math.inf
    sigma: float = 0.0
    data: str = "fixed"
    batch_fraction: float = 1.0
    momentum: float = 0.0
    weight_decay: float = 0.0
    lam: tuple[float, ...] = (1.0,)
    p: tuple[float, ...] | None = None
    teacher2: tuple[float, ...] | None = None
    centered: bool = False
    init_std: tuple[float, ...] | None = None
    residual: float | None = None

    def __post_init__(self):
        put = lambda name, value: object.__setattr__(self, name, value)
        for name, bounds in RANGES.items():
            put(name, real_number(getattr(self, name), name, **bounds))
        put("T", integer(self.T, "T"))
        put("L", integer(self.L, "L"))
        put("eta", _rates(self.eta, self.T))
        one_of(self.data, DATA_MODES, "data")
        if not isinstance(self.centered, (bool, np.bool_)):
            raise ValueError(f"Argument `centered` must be True or False, but is {self.centered!r}.")
        put("centered", bool(self.centered))
        put("lam", _entries(self.lam, "lam"))
        modes = len(self.lam)
        for name, length, default in (
            ("p", modes, 1.0 / modes),
            ("teacher2", modes, 1.0),
            ("init_std", self.L + 1, 1.0),
        ):
            given = getattr(self, name)
            put(name, _entries((default,) * length if given is None else given, name, length))
        if self.residual is not None:
            put("residual", real_number(self.residual, "residual", above=0))
        self._check_combinations()

    def _check_combinations(self) -> None:
        assert self.p is not None
        if not SMALLEST < np.square(self.gamma0) * self.nu < math.inf and not math.isinf(self.nu):
            raise ValueError(
                f"Argument `gamma0` must be so large that gamma0^2 nu is above {SMALLEST:g}, and finite, but is "
                f"{self.gamma0:g}."
            )
        total = math.fsum(self.p)
        if abs(total - 1.0) > 1e-9:
            raise ValueError(f"Argument `p` must sum to 1 (within 1e-9), but sums to {total:.12g}.")
        if not any(weight * value > 0 for weight, value in zip(self.p, self.lam, strict=True)):
            raise ValueError(
                f"Argument `lam` must have a positive entry with positive `p`, but is {self.lam}."
            )
        if self.batch_fraction < 1 and self.data == "onepass":
            raise ValueError(
                "Argument `batch_fraction` must be 1 with data='onepass' (there `alpha` is the size of a batch "
                f"over D), but is {self.batch_fraction:g}."
            )
        if self.batch_fraction < 1 and math.isinf(self.alpha):
            raise ValueError(
                "Argument `batch_fraction` must be 1 with alpha=inf (there is no training set to draw from), "
                f"but is {self.batch_fraction:g}."
            )
        if self.momentum > 0 and self.weight_decay > 0:
            raise ValueError(
                f"Argument `momentum` must be 0 with weight decay, but is {self.momentum:g} with "
                f"weight_decay={self.weight_decay:g}."
            )
        largest = float(np.max(self.rates))
        if largest * self.weight_decay >= 1:
            raise ValueError(
                f"Argument `weight_decay` must be below 1/eta = {1 / largest:g}, but is {self.weight_decay:g}."
            )
        if self.residual is not None and self.L < 2:
            raise ValueError(
                f"Argument `L` must be at least 2 for a residual network (L - 1 blocks), but is {self.L}."
            )

    @classmethod
    def mup(cls, *, gamma0: float = 1.0, **settings: Any) -> Self:
        """Mean-field parameterisation (μP): `gamma0` stays fixed when `nu` changes; so does the motion of features."""
        return cls(gamma0=gamma0, **settings)

    @classmethod
    def ntk(cls, *, gamma: float = 1.0, nu: float, **settings: Any) -> Self:
        r"""NTK parameterisation: $\gamma_0 = \gamma/\sqrt\nu$, so that features freeze as $\nu \to \infty$.

        Args:
            gamma: in $f = (1/(\gamma\sqrt N))\, w \cdots$, with raw learning rate $\eta\gamma^2 D$.
            nu: the width ratio, finite.
            **settings: the other fields.
        """
        return cls(gamma0=gamma0_from(gamma, "ntk", nu=nu), nu=nu, **settings)

    def replace(self, **changes: Any) -> Self:
        """A copy with other values, validated again.

        `p`, `teacher2` and `init_std` go back to their defaults where `lam` or `L` change their length.
        """
        fresh = dict(changes)
        if "lam" in changes and len(np.atleast_1d(changes["lam"])) != len(self.lam):
            fresh = {"p": None, "teacher2": None} | fresh
        if "L" in changes and changes["L"] != self.L and set(self.init_std or ()) == {1.0}:
            fresh = {"init_std": None} | fresh
        return dataclasses.replace(self, **fresh)

    @property
    def rates(self) -> np.ndarray:
        r"""(T,) the learning rate $\eta_t$ of each step."""
        return np.broadcast_to(np.asarray(self.eta, dtype=np.float64), (self.T,))

    @property
    def modes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        r"""(K,) eigenvalues $\lambda_k$, their shares $p_k$ and the teacher's mean squares $b_k^2$."""
        return np.asarray(self.lam), np.asarray(self.p), np.asarray(self.teacher2)

    @property
    def variances(self) -> np.ndarray:
        r"""(L+1,) the variances $s_l^2$ of the initial weights."""
        return np.asarray(self.init_std) ** 2

    @property
    def branch2(self) -> float:
        r"""$b^2/(L-1)$, the squared scale of one residual branch; 0 for a plain network."""
        return 0.0 if self.residual is None else self.residual**2 / (self.L - 1)

    @property
    def is_population(self) -> bool:
        """Whether every step uses the exact gradient over the input distribution, `alpha` = inf."""
        return math.isinf(self.alpha)

    @property
    def label(self) -> str:
        """Network and data in a few words."""
        network = (
            f"{self.L} hidden layer{'s' if self.L > 1 else ''}"
            if self.residual is None
            else f"{self.L - 1} residual block{'s' if self.L > 2 else ''}"
        )
        if self.is_population:
            source = "population"
        elif self.data == "onepass":
            source = f"one pass, alpha {self.alpha:g}"
        elif self.batch_fraction < 1:
            source = f"minibatches of {self.batch_fraction:g}, alpha {self.alpha:g}"
        else:
            source = f"full batch, alpha {self.alpha:g}"
        return f"{network}, {source}, nu {self.nu:g}, gamma0 {self.gamma0:g}"

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, in plain types; `MeanFieldConfig(**config.to_dict())` gives the same configuration."""
        return {
            field.name: list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
            for field in dataclasses.fields(self)
            for value in (getattr(self, field.name),)
        }


def gamma0_from(
    gamma: float, convention: str, *, nu: float | None = None, input_dim: int | None = None
) -> float:
    r"""The $\gamma_0$ of `MeanFieldConfig` for a network that somebody else has normalised.

    | convention | output of the network | $\gamma_0$ |
    | --- | --- | --- |
    | `"mup"` | $\frac{\sqrt D}{\gamma N}\, w \cdots \frac{W^0 x}{\sqrt D}$ | $\gamma$ |
    | `"ntk"` | $\frac{1}{\gamma \sqrt N}\, w \cdots \frac{W^0 x}{\sqrt D}$ | $\gamma/\sqrt\nu$ |
    | `"plain_mean_field"` | $\frac{1}{\gamma N}\, w \cdots \frac{W^0 x}{\sqrt D}$ | $\gamma\sqrt D$ |

    In the last one $\gamma$ of order 1 moves the features by $O(\sqrt D)$ in one step: no proportional limit exists.

    Args:
        gamma: their constant.
        convention: one of the three names.
        nu: $N/D$, needed for `"ntk"`.
        input_dim: $D$, needed for `"plain_mean_field"`.

    Example:
        >>> gamma0_from(4.0, "ntk", nu=4.0)
        2.0
    """
    gamma = real_number(gamma, "gamma", above=0)
    one_of(convention, CONVENTIONS, "convention")
    if convention == "mup":
        return gamma
    if convention == "ntk":
        return gamma / math.sqrt(real_number(nu, "nu", above=0))
    return gamma * math.sqrt(integer(input_dim, "input_dim"))


def one_of(value: Any, allowed: Sequence[str], argument: str) -> None:
    """Refuse what is not one of a few words."""
    if not isinstance(value, str) or value not in allowed:
        choices = " or ".join(map(repr, allowed))
        raise ValueError(f"Argument `{argument}` must be {choices}, but is {value!r}.")


def _entries(value: Any, argument: str, length: int | None = None) -> tuple[float, ...]:
    """A list of non-negative finite numbers, of the given length if there is one."""
    found = real_array(value, argument, ndim=1)
    if length is not None and len(found) != length:
        raise ValueError(f"Argument `{argument}` must have {length} entries, but has {len(found)}.")
    if np.any(found < 0):
        place = int(np.argmax(found < 0))
        raise ValueError(
            f"Argument `{argument}` must have non-negative entries, but entry {place} is {found[place]:g}."
        )
    return tuple(map(float, found))


def _rates(value: Any, steps: int) -> float | tuple[float, ...]:
    """A positive learning rate, or a schedule of `steps` non-negative ones, not all 0."""
    if not isinstance(value, Iterable) or isinstance(value, str) or getattr(value, "ndim", 1) == 0:
        return real_number(value, "eta", above=0)
    found = _entries(value, "eta")
    if len(found) != steps:
        raise ValueError(
            f"Argument `eta` must be one number or a schedule of length T = {steps}, but has length {len(found)}."
        )
    if max(found) <= 0:
        raise ValueError("Argument `eta` must have a positive entry, but is 0 at every step.")
    return found
