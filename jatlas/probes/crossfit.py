"""Class probabilities by probes that have not learned from the sample."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Integer

from jatlas._src import arrays, border, layout
from jatlas._src.arrays import AnyArray, Where
from jatlas._src.seeds import Seed, as_key
from jatlas.probes.probe import Probe, probe_logits
from jatlas.probes.training import fit_probe


class CrossFit(NamedTuple):
    """K probes, each fitted on all folds of rows but one.

    Attributes:
        probes: a `Probe` stacked along the K folds.
        fold: (N,), the fold of each row that was learned from; -1 of all others.
    """

    probes: Probe
    fold: Int[Array, " N"]


@border.border
def fit_crossfit(
    key: Seed,
    space: Float[AnyArray, "N A"],
    labels: Integer[AnyArray, " N"],
    num_classes: int,
    *,
    folds: int = 4,
    where: Where = None,
    validation: Where = None,
    hidden: int = 256,
    learning_rate: float | Float[Array, ""] = 1e-3,
    batch_size: int = 128,
    max_epochs: int = 100,
    patience: int = 10,
) -> CrossFit:
    """Fit probes for out-of-fold class probabilities.

    What a classifier says of a sample that it was trained on is too good, and a space
    that is made from it deceives whoever learns from that space. So the rows are dealt
    at random into K folds of equal size, and each of K probes learns from the rows of
    all folds but one. `crossfit_probabilities` then asks of each row the probe that has
    not learned from it.

    The square roots of the probabilities are unit vectors, whose inner product is the
    Bhattacharyya coefficient of two distributions: to `merge` they are one chart more.

    Args:
        key: a JAX key, or an integer seed of 0 or more.
        space: (N, A), floating point: of several charts, their rows side by side.
        labels: (N,), class numbers in 0..C-1.
        num_classes: C.
        folds: K, 2 or more.
        where: (N,), the rows to learn from; if None, all but those for validation.
        validation: (N,), the rows by which all probes stop, as in `fit_probe`.
        hidden: as in `fit_probe`, and so are those that follow.
        learning_rate: of Adam.
        batch_size: rows a step.
        max_epochs: the most epochs.
        patience: epochs without a lower validation loss.

    Returns:
        A `CrossFit`. Its probes are NaN where `fit_probe` gives NaN; also if there are
        fewer rows than folds.

    Raises:
        ValueError: as `fit_probe`, and if there are fewer than 2 folds.

    Example:
        >>> import jax
        >>> labels = jax.numpy.arange(60) % 3
        >>> space = 2 * jax.nn.one_hot(labels, 4)
        >>> fitted = fit_crossfit(jax.random.key(0), space, labels, 3, max_epochs=30)
        >>> crossfit_probabilities(fitted, space, fitted.fold).argmax(axis=1)[:5]
        Array([0, 1, 2, 0, 1], dtype=int32)

    Source: the "cross-fitting" of Chernozhukov et al., "Double/debiased machine
    learning" (2018); out-of-fold predictions in Wolpert, "Stacked generalization"
    (1992).
    """
    key = as_key(key)
    arrays.check_count("folds", folds, 2)
    arrays.check_rows("space", space)
    arrays.check_mask("where", where, space.shape[:1], "(N,)")
    arrays.check_mask("validation", validation, space.shape[:1], "(N,)")
    nobody = jnp.zeros(space.shape[0], bool)
    held = nobody if validation is None else jnp.asarray(validation)
    rows = ~held if where is None else jnp.asarray(where)
    fold = _dealt(jax.random.fold_in(key, 0), rows, folds)
    probes = [
        fit_probe(
            jax.random.fold_in(key, k + 1),
            space,
            labels,
            num_classes,
            where=rows & (fold != k) & (rows.sum() >= folds),
            validation=validation,
            hidden=hidden,
            learning_rate=learning_rate,
            batch_size=batch_size,
            max_epochs=max_epochs,
            patience=patience,
        )
        for k in range(folds)
    ]
    return CrossFit(jax.tree.map(lambda *leaves: jnp.stack(leaves), *probes), fold)


@border.jit()
@layout.automatic("space")
def crossfit_probabilities(
    fitted: CrossFit,
    space: Float[AnyArray, "N A"],
    fold: Integer[AnyArray, " N"] | None,
) -> Float[Array, "N C"]:
    """The class probabilities of rows, by probes not fitted on them.

    Args:
        fitted: as from `fit_crossfit`.
        space: (N, A), rows of the space that it was fitted on, or new ones.
        fold: (N,), whose fold each row is in: `fitted.fold`, for the rows that it was
            fitted on; -1 for a row that none has learned from; None if that is so of
            all. There is no default: of rows learned from, None would give what was
            learned by heart.

    Returns:
        (N, C) in float32 or wider, each row in [0, 1] with sum 1: of a row in fold k
        what probe k says, of others the mean of what all K say. NaN for a row that
        holds a NaN, or whose fold is K or more.

    Raises:
        ValueError: if the space is not a floating point matrix of the width of the
            probes, or there is not a fold for each of its rows.

    Example:
        >>> import jax
        >>> space = jax.random.normal(jax.random.key(0), (6, 4))
        >>> labels = jax.numpy.arange(6) % 2
        >>> fitted = fit_crossfit(jax.random.key(1), space, labels, 2, max_epochs=1)
        >>> crossfit_probabilities(fitted, space, None).shape
        (6, 2)
    """
    arrays.check_rows("space", space)
    if fold is None:
        fold = jnp.full(space.shape[0], -1)
    arrays.check_equal(
        "the number of rows of space and fold",
        [space.shape[0], *fold.shape],
        "Give the fold of each row; of new rows, none.",
    )
    folds = len(fitted.probes.best_epoch)

    def add(total: Array, one: tuple[Probe, Array]) -> tuple[Array, None]:
        probe, k = one
        probabilities = jax.nn.softmax(probe_logits(probe, space))
        share = jnp.where(fold < 0, 1 / folds, fold == k)
        # Not what is multiplied by zero: another probe may have no finite logits.
        weighted = jnp.where(share[:, None] == 0, 0, share[:, None] * probabilities)
        return total + weighted, None

    num_classes = fitted.probes.bias.shape[-1]
    dtype = jnp.result_type(arrays.widen(space), fitted.probes.bias)
    nothing = jnp.zeros((space.shape[0], num_classes), dtype)
    nothing = layout.varying(nothing, fitted, space, fold)
    mixture = jax.lax.scan(add, nothing, (fitted.probes, jnp.arange(folds)))[0]
    return jnp.where((fold < folds)[:, None], mixture, jnp.nan)


@partial(jax.jit, static_argnames="folds")
@layout.automatic()
def _dealt(key: Array, rows: Bool[Array, " N"], folds: int) -> Int[Array, " N"]:
    """A fold for each row that counts, by its place among these."""
    number = jnp.arange(rows.size)
    random = jnp.where(number < rows.sum(), jax.random.uniform(key, rows.shape), 2.0)
    fold_of_place = jnp.argsort(jnp.argsort(random)) % folds
    place = jnp.maximum(jnp.cumsum(rows) - 1, 0)
    return jnp.where(rows, fold_of_place[place], -1).astype(jnp.int32)
