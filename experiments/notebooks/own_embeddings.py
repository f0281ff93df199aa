# %% [markdown]
# # Your own embeddings
#
# From files to an atlas: merge, compare, project what is new, save. Each step is also a
# command, `python -m jatlas merge`, `compare`, `project`, that prints what it saw.

# %%
import tempfile
from pathlib import Path

import numpy as np

import jatlas
from experiments.data.catalog import load

temporary = tempfile.TemporaryDirectory()
folder = Path(temporary.name)

# %% [markdown]
# ## Two files of embeddings
#
# Yours come from networks. Here two "encoders" look at the same pictures of clothes:
# one takes the grey of 7 x 7 fields, the other how many edges of eight directions there
# are in each of 4 x 4 fields. Their numbers do not mean the same, nor are they as many.


# %%
def greys(images: np.ndarray) -> np.ndarray:
    """The mean grey of 7 x 7 fields, 49 numbers."""
    fields = images.reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4), dtype=np.float32)
    return fields.reshape(len(images), -1)


def edges(images: np.ndarray) -> np.ndarray:
    """Edges by direction in 4 x 4 fields, 128 numbers."""
    down, across = np.gradient(images[..., 0] / np.float32(255), axis=(1, 2))
    strength, angle = np.hypot(down, across), np.arctan2(down, across)
    sector = np.floor((angle / np.pi + 1) * 4).astype(int) % 8
    by_direction = strength[..., None] * np.eye(8, dtype=np.float32)[sector]
    fields = by_direction.reshape(-1, 4, 7, 4, 7, 8).sum(axis=(2, 4))
    return np.sqrt(fields.reshape(len(images), -1))


data = load("fashion_mnist_7k")
chosen = np.random.default_rng(0).permutation(len(data.labels))[:2000]
ids, labels, images = data.ids[chosen], data.labels[chosen], data.images[chosen]
first, second = greys(images), edges(images)

# %% [markdown]
# The first 800 pictures are in both files, 500 more in one of them only. A file holds
# ids, and one row a sample; `.npy` has its ids beside it. Parquet, safetensors, HDF5
# and folders of Hugging Face's `datasets` are read as well.

# %%
in_first, in_second = np.r_[0:1300], np.r_[0:800, 1300:1800]
np.savez(folder / "greys.npz", id=ids[in_first], embeddings=first[in_first])
np.save(folder / "edges.npy", second[in_second])
(folder / "edges.id.txt").write_text("\n".join(ids[in_second]) + "\n")

# %% [markdown]
# ## Do they agree at all?
#
# On the samples that both have. Each value stands beside what random pairings give, and
# p is how often those reach it. 39 pairings are few, and quick.

# %%
paths = [folder / "greys.npz", folder / "edges.npy"]
comparison = jatlas.files.compare_files(
    paths, measures=["cka-linear", "neighbors"], samples=400, permutations=39
)
for name, *numbers in comparison.likenesses:
    print(f"{name:10} {{:.3f}}, by chance {{:.3f}}, p {{:.3f}}".format(*numbers))

# %% [markdown]
# ## Merge
#
# 128 anchors, drawn among the samples that both have. Each chart is whitened first: our
# two encoders give no negative numbers, and all cosines would be close to 1.

# %%
atlas = jatlas.merge_files(paths, anchors="shared:128", whiten=True, say=print)
print(f"atlas: {atlas.merged.shape}")

# %% [markdown]
# Was it worth it? Samples that only the first file has are named after the nearest of
# those that only the second has: another picture, by another encoder.

# %%
by_id = dict(zip(ids, labels, strict=True))
known = np.array([by_id[name] for name in atlas.ids])
rows = atlas.merged / np.linalg.norm(atlas.merged, axis=1, keepdims=True)
ours, theirs = np.isin(atlas.ids, ids[800:1300]), np.isin(atlas.ids, ids[1300:1800])
nearest = np.argmax(rows[ours] @ rows[theirs].T, axis=1)
right = known[theirs][nearest] == known[ours]
print(f"{right.mean():.0%} of the same class, by chance {1 / 10:.0%}")

# %% [markdown]
# ## Save, load, project
#
# What is saved holds the rows and the recipe, and no code. With the recipe new samples
# of a chart get the coordinates that the merge would have given them. An anchor among
# them would tell whether the encoder is still the same.

# %%
jatlas.save(folder / "clothes.safetensors", atlas)
again = jatlas.load(folder / "clothes.safetensors")
print("the same rows:", np.array_equal(again.merged, atlas.merged))

recipe = jatlas.files.load_recipe(folder / "clothes.safetensors")
np.savez(folder / "new.npz", id=ids[1800:], embeddings=first[1800:])
new = jatlas.files.project_file(recipe, folder / "new.npz", chart="greys", say=print)
print(f"projected: {new.merged.shape}")
temporary.cleanup()
