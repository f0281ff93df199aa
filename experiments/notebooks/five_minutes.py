# %% [markdown]
# # Five minutes with jatlas
#
# Three encoders have each seen some of a thousand samples. Their spaces have nothing to
# do with each other: other widths, other axes. We merge them into one.
#
# Run this file as it is, or make it a notebook:
# `jupytext --to ipynb experiments/notebooks/five_minutes.py`.

# %%
import numpy as np

import jatlas

# %% [markdown]
# ## What we are given
#
# A sample is a point near one of ten centres, and an encoder is a random map of it, 32,
# 64 or 96 numbers wide. In place of them think of any networks: all that counts are the
# embeddings, one array a chart, and who has which sample.

# %%
rng = np.random.default_rng(0)
N, M, A, C = 1000, 3, 64, 10
labels = rng.integers(C, size=N)
samples = rng.normal(size=(C, 16))[labels] + 0.7 * rng.normal(size=(N, 16))
samples = samples.astype(np.float32)
maps = [rng.normal(size=(16, D)).astype(np.float32) / 4 for D in (32, 64, 96)]
embeddings = [np.tanh(samples @ weights) for weights in maps]
presence = rng.random((M, N)) < 0.6

print("embeddings:", [x.shape for x in embeddings])
for count, size in enumerate(np.bincount(presence.sum(axis=0))):
    print(f"in {count} charts: {size} samples")

# %% [markdown]
# ## Anchors
#
# Anchors are samples that every chart has. A sample's coordinates will be its cosines
# to them, in each chart by itself; the cosine to anchor 5 means the same in all.

# %%
pool = jatlas.anchor_pool(presence, "shared")
anchors = jatlas.choose_anchors(0, pool, A)
print(f"{A} anchors of {int(pool.sum())} samples that every chart has")

# %% [markdown]
# ## Merge
#
# One row a sample: the mean over the charts that have it. A chart's rows of samples
# that it does not have are not looked at. A sample in no chart has no coordinates: its
# row is NaN, and can never pass for a row of zeros.

# %%
atlas = jatlas.merge(embeddings, [x[anchors] for x in embeddings], presence)
known = presence.any(axis=0)
print("atlas:", atlas.shape)
print("rows of NaN:", int(np.isnan(atlas).all(axis=1).sum()))

# %% [markdown]
# ## Is it one space?
#
# Here we know what the encoders looked at, and can ask how alike the atlas is to it: 1
# is the same but for rotation and scale.

# %%
source = jatlas.relativize(samples, samples[anchors])
value = jatlas.cka(atlas, source, where=known)
print(f"CKA of the atlas with what the encoders saw: {float(value):.3f}")

# %% [markdown]
# Harder: learn the classes from samples that only the first chart has, and name those
# that only the last one has. Unmerged, the two spaces can be no more than padded to one
# width, and where a class is in the one says nothing about the other.

# %%
only_first, _, only_last = presence & (presence.sum(axis=0) == 1)
first = np.pad(embeddings[0], [(0, 0), (0, 96 - 32)])
unmerged = np.where(only_first[:, None], first, embeddings[2])

print(f"{only_first.sum()} samples to learn from, {only_last.sum()} to name")
for name, space in (("unmerged", unmerged), ("atlas", atlas)):
    means = jatlas.probes.class_means(space, labels, C, where=only_first)
    right = (jatlas.probes.nearest_class_mean(means, space) == labels)[only_last]
    print(f"{name:>8}: {float(right.mean()):.0%} right, by chance {1 / C:.0%}")

# %% [markdown]
# Next: `own_embeddings.py` for your own files, `growing_atlas.py` for charts that come
# one after another, and `paper.py` for what the method gains, and what it does not.
