# %% [markdown]
# # A change of model
#
# A vector database holds documents by an old model; a new one takes over. A share is
# re-embedded, the two are merged, and queries of the new model find documents that only
# the old one has embedded. The database is LanceDB, in the process (extra `lance`).

# %%
import tempfile

import lancedb
import numpy as np
import pyarrow as arrow
from sklearn.datasets import load_digits

import jatlas

temporary = tempfile.TemporaryDirectory()
database = lancedb.connect(temporary.name)

# %% [markdown]
# ## Two models
#
# The documents are handwritten digits. The old model takes the cosine transform of a
# picture, and the low frequencies of it; the new one how much ink each pixel and the
# one beside it have.


# %%
def old_model(images: np.ndarray) -> np.ndarray:
    """The lowest 5 x 5 frequencies."""
    steps = np.outer(np.arange(5), np.arange(8) + 0.5)
    waves = np.cos(np.pi / 8 * steps)
    return np.float32(waves @ images @ waves.T).reshape(len(images), -1)


def new_model(images: np.ndarray) -> np.ndarray:
    """Ink of neighbors, across and down."""
    pairs = (
        np.sqrt(images[:, :, 1:] * images[:, :, :-1]),
        np.sqrt(images[:, 1:] * images[:, :-1]),
    )
    return np.float32(np.concatenate([x.reshape(len(x), -1) for x in pairs], axis=1))


images, labels = load_digits(return_X_y=True)
images = images.reshape(-1, 8, 8)
order = np.random.default_rng(0).permutation(len(images))
documents, questions = images[order[:1500]], images[order[1500:1600]]
classes, asked_classes = labels[order[:1500]], labels[order[1500:1600]]

# %% [markdown]
# ## The index of old vectors


# %%
def store(name: str, ids: np.ndarray, rows: np.ndarray) -> None:
    """A table of the database, a vector a row."""
    flat = arrow.array(np.float32(rows).ravel())
    vectors = arrow.FixedSizeListArray.from_arrays(flat, rows.shape[1])
    database.create_table(name, arrow.table({"id": ids, "vector": vectors}))


def search(name: str, rows: np.ndarray) -> np.ndarray:
    """The ids of the ten nearest of each row."""
    searched = database.open_table(name)
    queries = (searched.search(row).distance_type("cosine") for row in np.float32(rows))
    return np.array([one.limit(10).to_arrow()["id"].to_pylist() for one in queries])


ids = np.arange(1500)
store("old", ids, old_model(documents))

# %% [markdown]
# ## A share is re-embedded, and merged
#
# `assemble` lines the rows up by their ids. Ridge 1 and power 1 are the defaults;
# `choose_consensus` finds better ones in some seconds.

# %%
chosen = np.random.default_rng(1).choice(1500, 300, replace=False)
table = database.open_table("old").to_arrow()
old_rows = np.stack(table["vector"].to_numpy())
spaces = jatlas.assemble(
    [(table["id"].to_numpy(), old_rows), (chosen, new_model(documents[chosen]))]
)
consensus = jatlas.fit_consensus(spaces.embeddings, spaces.presence)
merged = jatlas.merge_consensus(consensus, spaces.embeddings, spaces.presence)
store("merged", np.asarray(spaces.ids), np.asarray(merged))
print(f"merged: {merged.shape}, {len(chosen)} documents by both models")

# %% [markdown]
# ## Queries of the new model
#
# Are their documents of the right class, and are they those that an index would return
# in which everything is re-embedded?

# %%
asked = new_model(questions)
store("everything", ids, new_model(documents))
best = search("everything", asked)
returned = {
    "everything": best,
    "merged": search("merged", jatlas.apply_consensus(consensus, 1, asked)),
    "old": search("old", old_model(questions)),
}
recall, right = {}, {}
for name, rows in returned.items():
    kept = [np.isin(*pair).mean() for pair in zip(best, rows, strict=True)]
    recall[name] = np.mean(kept)
    right[name] = np.mean(classes[rows] == asked_classes[:, None])
    print(f"{name:10}: recall {recall[name]:.2f}, of the right class {right[name]:.2f}")

# %% [markdown]
# The merged index returns neighbors that are nearly as often of the right class, and
# others than those of the new model. Where the old model can still be asked, its own
# index is no worse here: the merge is for when it cannot.
#
# ## Is an old document found by its new vector?
#
# These 100 have the old model's vector only.

# %%
unseen = np.setdiff1d(ids, chosen)[:100]
rows = jatlas.apply_consensus(consensus, 1, new_model(documents[unseen]))
hits = (search("merged", rows) == unseen[:, None]).any(axis=1)
print(f"found: {hits.mean():.2f}")
temporary.cleanup()

# %% [markdown]
# The guide, `experiments/guides/change_of_model.md`, says how `evaluate` tells this
# beforehand, and when the merge is not good enough.
