"""Ids are the same by their keys as by themselves, also where keys are the same."""

import numpy as np
import pytest

from jatlas._src import ids

RNG = np.random.default_rng(0)
KINDS = {
    "numbers": RNG.permutation(400) - 7,
    "texts": np.char.add("größe ", RNG.permutation(400).astype(str)),
    "one letter": np.array(list("abcdefgh")),
    "empty": np.array(["", "a", " ", "a "]),
    "nothing": np.array([], "U3"),
}
exact = ids._keys
KEYS = {
    "as they are": exact,
    "all the same": lambda texts: np.zeros(texts.size, np.uint64),
    "of few values": lambda texts: exact(texts) % np.uint64(13),
}


@pytest.fixture(params=KEYS)
def keys(request, monkeypatch):
    monkeypatch.setattr(ids, "_keys", KEYS[request.param])
    monkeypatch.setattr(ids, "_AT_ONCE", 64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("keys")
def test_the_union_of_sources(kind):
    names = KINDS[kind]
    sources = [names[:300], names[100:][::-1], names[::3]]
    every, places = ids.union(sources)
    _, first = np.unique(np.concatenate(sources), return_index=True)
    np.testing.assert_array_equal(every, np.concatenate(sources)[np.sort(first)])
    for source, place in zip(sources, places, strict=True):
        np.testing.assert_array_equal(every[place], source)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("keys")
def test_ids_that_are_found_or_not(kind):
    names = KINDS[kind]
    held, wanted = names[::2], names[::-1]
    places = {name: k for k, name in enumerate(held.tolist())}
    expected = [places.get(name, -1) for name in wanted.tolist()]
    assert ids.find(held, wanted).tolist() == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("keys")
def test_whether_all_differ(kind):
    names = KINDS[kind]
    assert ids.all_differ(names)
    assert ids.all_differ(names[::-2])
    if names.size:
        assert not ids.all_differ(np.r_[names, names[-1:]])
        assert not ids.all_differ(np.r_[names, names, names])


def test_keys_of_many_texts_differ():
    texts = np.arange(200_000).astype(str)
    keys = ids._keys(texts)
    assert np.unique(keys).size == texts.size
    some = texts[::-7]
    np.testing.assert_array_equal(ids._keys(some), keys[::-7])
