"""Random polynomial functions for the property tests, and a table of functions that use every primitive."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from jax import lax


def corner(x, y):
    """The largest common leading corner of two matrices."""
    r, c = min(x.shape[0], y.shape[0]), min(x.shape[1], y.shape[1])
    return x[:r, :c], y[:r, :c]


def matmul(x, y, k):
    m = min(x.shape[1], y.shape[0])
    return x[:, :m] @ y[:m]


def batched(x, y, k):
    x, y = corner(x, y)
    return jnp.einsum("bi,bj->bij" if k % 2 else "ib,jb->ijb", x, y)[0]


def batched_matmul(x, y, k):
    x, y = corner(x, y)
    return jnp.einsum("bij,bkj->bik", jnp.stack([x, y]), jnp.stack([y, x]))[k % 2]


def two_contractions(x, y, k):
    x, y = corner(x, y)
    return jnp.einsum("ij,ij->", x, y).reshape(1, 1) * jnp.ones((2, 1))


def loop(x, y, k):
    x, y = corner(x, y)

    def body(carry, row):
        return carry * float(k % 3 - 1) + row, carry - 2.0 * row

    last, rows = lax.scan(body, x[0], y, reverse=bool(k % 2))
    return jnp.concatenate([rows, last[None]])


def counted_loop(x, y, k):
    x, y = corner(x, y)
    return lax.fori_loop(0, k % 3, lambda i, z: z + x * (i + 1.0), y)


def convolution(x, y, k):
    return jnp.convolve(x[0], y[:, 0], mode=["full", "same", "valid"][k % 3]).reshape(1, -1)


def masked(x, y, k):
    mask = (np.arange(x.size).reshape(x.shape) + k) % 2 == 0
    return jnp.where(jnp.asarray(mask), x, -3.0)


def picked(x, y, k):
    return x[jnp.asarray([0, x.shape[0] - 1, 0])]


def joined(x, y, k):
    c = min(x.shape[1], y.shape[1])
    return jnp.concatenate([x[:, :c], y[:, :c]], axis=0)


def called(x, y, k):
    twice = jax.jit(lambda a: 2.0 * a - jnp.flip(a, axis=k % 2))
    return jax.checkpoint(twice)(x) if k % 3 == 0 else twice(x)


OPERATIONS = {
    "matmul": matmul,
    "add": lambda x, y, k: jnp.add(*corner(x, y)),
    "sub": lambda x, y, k: jnp.subtract(*corner(x, y)),
    "mul": lambda x, y, k: jnp.multiply(*corner(x, y)),
    "scale": lambda x, y, k: (k - 3) * 0.5 * x,
    "halve": lambda x, y, k: -x / 4.0,
    "transpose": lambda x, y, k: x.T,
    "reshape": lambda x, y, k: x.reshape(1, -1) if k % 2 else x.reshape(-1, 1),
    "slice": lambda x, y, k: x[k % 2 :: 2] if x.shape[0] > 1 else x[:, : 1 + k % 2],
    "flip": lambda x, y, k: jnp.flip(x, axis=k % 2),
    "pad": lambda x, y, k: lax.pad(x, 2.0, ((k % 2, -(k % 2), 1), (1, 0, 0))),
    "power": lambda x, y, k: x ** (k % 3 + 1),
    "sum": lambda x, y, k: x.sum(axis=k % 2, keepdims=True),
    "mean_of_two": lambda x, y, k: jnp.mean(jnp.concatenate([x, x], axis=0)[:2], axis=0, keepdims=True),
    "cumsum": lambda x, y, k: lax.cumsum(x, axis=k % 2, reverse=k % 3 == 0),
    "cumprod": lambda x, y, k: lax.cumprod(x, axis=k % 2, reverse=k % 3 == 0),
    "prod": lambda x, y, k: jnp.prod(x, axis=k % 2, keepdims=True),
    "at_add": lambda x, y, k: x.at[jnp.asarray([0, x.shape[0] - 1, 0])].add(2.0),
    "at_set": lambda x, y, k: x.at[0].set(x[-1] * 3.0),
    "outer": lambda x, y, k: jnp.outer(x[0], y[0]),
    "roll": lambda x, y, k: jnp.roll(x, k, axis=k % 2),
    "batched": batched,
    "batched_matmul": batched_matmul,
    "two_contractions": two_contractions,
    "scan": loop,
    "fori": counted_loop,
    "convolution": convolution,
    "where": masked,
    "gather": picked,
    "concatenate": joined,
    "jit": called,
}


def build(steps):
    """The function of two matrices that runs the steps, each on two earlier results, and returns them all."""

    def phi(p):
        pool = [p["U"], p["V"]]
        for name, i, j, k in steps:
            pool.append(OPERATIONS[name](pool[i % len(pool)], pool[j % len(pool)], k)[:3, :3])
        return tuple(pool[2:])

    return phi


random_steps = st.lists(
    st.tuples(st.sampled_from(sorted(OPERATIONS)), st.integers(0, 7), st.integers(0, 7), st.integers(0, 5)),
    min_size=1,
    max_size=5,
)
SHAPES = {"U": (2, 3), "V": (3, 2)}


@st.composite
def points(draw):
    """Random small integer entries for U and V, as integers."""
    entries = st.integers(-3, 3)
    return {
        name: np.array(draw(st.lists(entries, min_size=6, max_size=6))).reshape(shape)
        for name, shape in SHAPES.items()
    }


def structs(shapes):
    return {name: jax.ShapeDtypeStruct(shape, "float64") for name, shape in shapes.items()}


@functools.partial(jax.custom_jvp)
def own_derivative(x):
    return x * x


@own_derivative.defjvp
def _own_derivative_jvp(primals, tangents):
    return own_derivative(*primals), 2.0 * primals[0] * tangents[0]


@jax.custom_vjp
def own_transpose(x):
    return x * x * x


own_transpose.defvjp(lambda x: (x * x * x, x), lambda x, g: (3.0 * x * x * g,))


def conv(x, w, **options):
    return lax.conv_general_dilated(x, w, **{"window_strides": (1, 1), "padding": "SAME"} | options)


TABLE = {
    # name: (function of one argument per shape, shapes)
    "several contractions": (lambda a, b: jnp.einsum("bijk,bkjl->lbi", a, b), [(2, 3, 2, 2), (2, 2, 2, 3)]),
    "tensordot": (lambda a, b: jnp.tensordot(a, b, axes=2), [(2, 3, 4), (3, 4, 2)]),
    "vdot": (jnp.vdot, [(3,), (3,)]),
    "constant on the left": (lambda a: jnp.asarray([[1.0, 2.0], [0.5, -1.0]]) @ a, [(2, 3)]),
    "constant on the right": (lambda a: a @ jnp.asarray([[1.0], [0.25], [2.0]]), [(2, 3)]),
    "constant output": (lambda a: (jnp.ones((2,)) * 0.5, a), [(2,)]),
    "input as output": (lambda a: (a, a), [(2,)]),
    "scalar": (lambda a: a * a - 2.0, [()]),
    "power by a float": (lambda a: (a + 5.0) ** 2.0 + (a + 5.0) ** 1.0 + (a + 5.0) ** 0.0, [(3,)]),
    "power by several": (lambda a: a ** jnp.asarray([2.0, 2.0, 3.0]), [(3,)]),
    "square": (jnp.square, [(3,)]),
    "trace": (lambda a: jnp.trace(a), [(3, 3)]),
    "diag": (lambda a: jnp.diag(a), [(3,)]),
    "tril": (lambda a: jnp.tril(a), [(3, 3)]),
    "kron": (lambda a, b: jnp.kron(a, b), [(2, 2), (1, 3)]),
    "matrix power": (lambda a: jnp.linalg.matrix_power(a, 3), [(2, 2)]),
    "swap and stack": (lambda a, b: jnp.stack([a.swapaxes(0, 2), b.T], axis=1), [(2, 3, 4), (2, 3, 4)]),
    "prod of all": (lambda a: jnp.prod(a), [(2, 3)]),
    "prod of middle": (lambda a: jnp.prod(a, axis=(0, 2)), [(2, 3, 2)]),
    "prod of none": (lambda a: jnp.prod(a[:0], axis=0), [(2, 3)]),
    "sum of none": (lambda a: jnp.sum(a[:0], axis=0), [(2, 3)]),
    "cumsum in the middle": (lambda a: jnp.cumsum(a, axis=1), [(2, 3, 2)]),
    "vmap": (jax.vmap(lambda a, b: a @ b), [(3, 2, 2), (3, 2)]),
    "vmapped gather": (jax.vmap(lambda a: a[jnp.asarray([1, 1, 0])]), [(2, 3)]),
    "gather with fill": (lambda a: a.at[jnp.asarray([0, 5])].get(mode="fill", fill_value=7.0), [(3,)]),
    "gather that clips": (lambda a: a.at[jnp.asarray([0, 5])].get(mode="clip"), [(3,)]),
    "scatter add": (lambda a, b: a.at[jnp.asarray([0, 2, 0])].add(b), [(3, 2), (3, 2)]),
    "scatter add that drops": (
        lambda a, b: a.at[jnp.asarray([0, 9])].add(b, mode="drop"),
        [(3, 2), (2, 2)],
    ),
    "scatter subtract": (lambda a, b: a.at[1, jnp.asarray([1, 1])].subtract(b), [(3, 2), (2,)]),
    "scatter multiply": (lambda a, b: a.at[jnp.asarray([0, 2, 0])].multiply(b), [(3, 2), (3, 2)]),
    "scatter set": (lambda a, b: a.at[jnp.asarray([2, 0])].set(b), [(3, 2), (2, 2)]),
    "vmapped scatter add": (
        jax.vmap(lambda a, b: a.at[jnp.asarray([0, 2, 0])].add(b)),
        [(2, 3, 2), (2, 3, 2)],
    ),
    "dynamic slice": (lambda a: lax.dynamic_slice(a, (jnp.asarray(1), jnp.asarray(0)), (2, 2)), [(3, 3)]),
    "dynamic update": (
        lambda a, b: lax.dynamic_update_slice(a, b, (jnp.asarray(1), jnp.asarray(1))),
        [(3, 3), (2, 1)],
    ),
    "split": (lambda a: jnp.split(a, 3, axis=1), [(2, 6)]),
    "stop gradient": (lambda a: lax.stop_gradient(a) * a, [(2,)]),
    "barrier": (lambda a, b: lax.optimization_barrier((a, b)), [(2,), (3,)]),
    "branch": (lambda a: lax.cond(jnp.asarray(1) > 0, lambda x: x * x, lambda x: x, a), [(2,)]),
    "switch": (lambda a: lax.switch(jnp.asarray(1), [lambda x: x, lambda x: 2.0 * x], a), [(2,)]),
    "while on a counter": (
        lambda a: lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * a), (0, a))[1],
        [(2,)],
    ),
    "scan over nothing": (lambda a: lax.scan(lambda c, x: (c, c * x), a, jnp.zeros((0,))), [()]),
    "scan with constants": (
        lambda a, b: lax.scan(lambda c, i: (c @ a, c * i), b, jnp.arange(3.0)),
        [(2, 2), (2, 2)],
    ),
    "scan in scan": (
        lambda a: lax.scan(lambda c, x: lax.scan(lambda d, y: (d * y, d), c, x), 1.0, a),
        [(2, 3)],
    ),
    "associative scan": (lambda a: lax.associative_scan(jnp.multiply, a), [(5,)]),
    "own derivative": (own_derivative, [(2,)]),
    "own transpose": (own_transpose, [(2,)]),
    "polyval": (lambda a: jnp.polyval(jnp.asarray([1.0, -2.0, 0.5]), a), [(2,)]),
    "frozen random matrix": (
        lambda a: jax.random.randint(jax.random.key(0), (2, 2), 0, 9).astype(float) @ a,
        [(2, 2)],
    ),
    "conv, stride, dilations": (
        lambda x, w: conv(
            x, w, window_strides=(2, 1), padding=((1, 0), (2, 1)), lhs_dilation=(1, 2), rhs_dilation=(2, 1)
        ),
        [(2, 2, 4, 3), (4, 2, 2, 3)],
    ),
    "conv, channels last": (
        lambda x, w: conv(x, w, dimension_numbers=("NHWC", "HWIO", "HWNC")),
        [(2, 4, 3, 2), (2, 3, 2, 4)],
    ),
    "conv, groups": (lambda x, w: conv(x, w, feature_group_count=2), [(2, 4, 4, 3), (6, 2, 2, 3)]),
    "conv, batch groups": (lambda x, w: conv(x, w, batch_group_count=2), [(4, 2, 4, 3), (6, 2, 2, 3)]),
    "conv, vmapped filters": (jax.vmap(conv), [(2, 1, 2, 4, 3), (2, 4, 2, 2, 3)]),
}
