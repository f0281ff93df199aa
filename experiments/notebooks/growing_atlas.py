# %% [markdown]
# # An atlas that grows
#
# Charts come one after another, from other machines, or long after the first results.
# An atlas is a sum and a count for each sample, so none of that matters: what joined
# earlier is not embedded again, and need not be kept.

# %%
import jax
import numpy as np
from sklearn.datasets import load_digits

import jatlas

# %% [markdown]
# ## Five charts of handwritten digits
#
# Each has two of the ten digits, and beside them a hundred images that all have: there
# the anchors are. An encoder is a random map of the 64 pixels here.

# %%
digits = load_digits()
pixels, labels = digits.data.astype(np.float32) / 16, digits.target
N, M, A = len(labels), 5, 50
rng = np.random.default_rng(0)
common = np.isin(np.arange(N), rng.permutation(N)[:100])
presence = np.stack([(labels // 2 == m) | common for m in range(M)])
maps = rng.normal(size=(M, 64, 128)).astype(np.float32) / 4
embeddings = np.tanh((pixels - pixels.mean(axis=0)) @ maps)

pool = jatlas.anchor_pool(presence, "shared")
anchors = jatlas.choose_anchors(0, pool, A)
relative = jax.vmap(jatlas.relativize)(embeddings, embeddings[:, anchors])
print("relative to the anchors, (M, N, A):", relative.shape)

# %% [markdown]
# ## One after another
#
# After each chart the atlas is there to be used. On the samples that it knows it is
# compared with the cosines of the pixels themselves.

# %%
everything = jatlas.relativize(pixels, pixels[anchors])
states = [jatlas.running.atlas.empty(N, A)]
print("charts  digits known  samples known    CKA")
for m in range(M):
    states.append(jatlas.running.atlas.add(states[-1], relative[m], presence[m]))
    known = states[-1].count > 0
    value = jatlas.cka(jatlas.running.atlas.value(states[-1]), everything, where=known)
    print(f"{m + 1:>6}{2 * m + 2:>14}{int(known.sum()):>15}{float(value):>7.3f}")

# %% [markdown]
# ## A sample in no chart is NaN
#
# Until the last chart joined, nobody knew an 8 or a 9, but for the common ones. Such a
# sample has no coordinates. Zeros would be some: a place in the space, at right angles
# to every anchor.

# %%
before, after = (np.asarray(jatlas.running.atlas.value(state)) for state in states[-2:])
late = (labels >= 8) & ~common
unknown = [int(np.isnan(space[late]).all(axis=1).sum()) for space in (before, after)]
print(f"of {late.sum()} images of an 8 or a 9, rows of NaN")
print(f"with four charts: {unknown[0]}, with all five: {unknown[1]}")

# %% [markdown]
# ## Who joins late moves only what it knows
#
# The rows of digits 0 to 7 are the same to the last bit. Only the common samples move:
# they were a mean over four charts, and are now one over five.

# %%
early = (labels < 8) & ~common
print("0 to 7 unchanged:", np.array_equal(before[early], after[early]))
step, length = (np.linalg.norm(x[common]) for x in (after - before, before))
print(f"common samples moved by {step / length:.1%} of their length")

# %% [markdown]
# A newcomer that is trusted less can be given a weight.

# %%
light = jatlas.running.atlas.add(states[-2], relative[-1], presence[-1], weights=0.1)
step = np.linalg.norm((jatlas.running.atlas.value(light) - before)[common])
print(f"with a weight of a tenth, by {step / length:.1%}")

# %% [markdown]
# ## Two machines
#
# Each adds the charts that it has, in any order, and sends its sums: (N, A) and (N,)
# numbers, however many charts there were. `merge` takes all at once and gives the same.


# %%
def atlas_of(charts: list[int]) -> jatlas.running.atlas.AtlasState:
    """The atlas of some of the charts, in this order."""
    atlas = jatlas.running.atlas.empty(N, A)
    for m in charts:
        atlas = jatlas.running.atlas.add(atlas, relative[m], presence[m])
    return atlas


together = jatlas.running.atlas.value(
    jatlas.running.atlas.combine(atlas_of([4, 0]), atlas_of([3, 1, 2]))
)
at_once = jatlas.merge(embeddings, embeddings[:, anchors], presence)
print(f"combined, they differ by {np.abs(together - after).max():.0e} at most")
print(f"and merged at once by {np.abs(at_once - after).max():.0e}")
