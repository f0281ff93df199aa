# %% [markdown]
# # The paper on small data
#
# Crisostomi et al., *From Charts to Atlas: Merging Latent Spaces into One* (2023), its
# scenario A on scikit-learn's 1,797 handwritten digits of 8 x 8 pixels: train charts,
# merge them, compare. And what of the gain is the method's, and what an oracle's.
# `python -m experiments` does it on more images, in more cells and with more seeds.

# %%
from functools import partial

import jax
import numpy as np
from sklearn.datasets import load_digits

import jatlas

# %% [markdown]
# ## Tasks
#
# Four classes are in every task, and two more in each of three tasks. The
# anchors are images that every chart was trained on, so they are of the shared classes.

# %%
digits = load_digits()
pixels = digits.data.astype(np.float32) / 16 - 0.5
labels, C, A = digits.target, 10, 64
test = np.random.default_rng(0).random(len(labels)) < 0.3
tasks = jatlas.scenarios.part_shared_part_novel(
    0, labels, num_shared=4, num_novel=2, test=test
)
anchors = jatlas.choose_anchors(0, jatlas.anchor_pool(tasks.seen, "shared"), A)
print("shared classes:", np.flatnonzero(tasks.shared))
for m, classes in enumerate(tasks.classes):
    print(f"task {m} has also", np.flatnonzero(classes & ~tasks.shared))

# %% [markdown]
# ## Charts
#
# One small network a task, and for comparison one that is trained on everything: the
# end-to-end chart. It is the paper's projector, on the 64 pixels here and not on the
# features of EfficientNet. Then every chart embeds every image, whether it knows its
# class or not; what may be used of that, the protocols below say.

# %%
network = partial(jatlas.charts.Projector, 64, C, num_features=A)
fit = partial(
    jatlas.charts.fit_charts, chart=jatlas.charts.from_module(network), max_epochs=12
)
charts = fit(jax.random.key(0), images=pixels, labels=labels, tasks=tasks)
everything = jatlas.scenarios.end_to_end(0, labels, test=test)
whole = fit(jax.random.key(1), images=pixels, labels=labels, tasks=everything)
embeddings, (original,) = (
    jatlas.charts.embed(charts, pixels),
    jatlas.charts.embed(whole, pixels),
)
print("charts' embeddings, (M, N, D):", embeddings.shape)

# %% [markdown]
# ## The atlas, twice
#
# **oracle**, the paper's protocol: a sample, test samples too, is embedded only by the
# charts whose task has its class. **blind**: without an oracle, every chart embeds
# every sample. The plain mean of the charts' embeddings is blind as well.

# %%
merge = partial(jatlas.merge, embeddings, embeddings[:, anchors])
spaces = {
    "end-to-end": original,
    "end-to-end, relative": jatlas.relativize(original, original[anchors]),
    "atlas, oracle": merge(tasks.presence),
    "atlas, blind": merge(np.ones_like(tasks.presence)),
    "mean, blind": embeddings.mean(axis=0),
}

# %% [markdown]
# ## Compare
#
# A classifier is trained on each space, on rows of the training split, and tested on
# the others. It can be given the tasks that have a sample's class, three numbers beside
# its row; here they are zeros. Separability is the distance of two
# classes against their own spread. CKA says how alike a space is to the end-to-end one.

# %%
stop_by = ~test & (np.arange(len(labels)) % 10 == 0)
rows = {"where": ~test & ~stop_by, "validation": stop_by}
nothing = np.zeros_like(tasks.presence)


def accuracy_in(space: jax.Array, known_tasks: np.ndarray = nothing) -> float:
    """The test accuracy of a classifier on the space."""
    space = np.concatenate([space, known_tasks.T.astype(np.float32)], axis=1)
    probe = jatlas.fit_probe(jax.random.key(2), space, labels, C, **rows)
    right = np.argmax(jatlas.probe_logits(probe, space), axis=1) == labels
    return float(right[test].mean())


print("                      accuracy  separability    CKA")
accuracy = {}
for name, space in spaces.items():
    accuracy[name] = accuracy_in(space)
    apart = np.nanmean(jatlas.separability(space, labels, C, where=test))
    alike = jatlas.cka(space, original, where=test)
    print(f"{name:22}{accuracy[name]:8.3f}{float(apart):14.2f}{float(alike):7.3f}")

# %% [markdown]
# ## In honest words
#
# When a sample comes nobody knows its class, and so nobody knows which charts to ask.
# The oracle did. The control knows the same without any merging: the end-to-end
# embedding, with a one beside it for each task that has the class of the sample.

# %%
control = accuracy_in(original, tasks.presence)
blind, oracle = accuracy["atlas, blind"], accuracy["atlas, oracle"]
print("accuracy       no oracle     task known")
print(f"end-to-end{accuracy['end-to-end']:14.3f}{control:15.3f}")
print(f"atlas     {blind:14.3f}{oracle:15.3f}")
print(f"{test.sum()} test images and one seed: 0.02 more or less may be chance")

# %% [markdown]
# So knowing the task gives the end-to-end chart as much as the oracle atlas gains. An
# atlas is for where there can be no end-to-end chart, because the data never were in
# one place, or the charts are not all there yet. Judge it by its accuracy without an
# oracle, beside the plain mean.
