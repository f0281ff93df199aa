"""Weights files are read without torch, and nothing in them is run."""

import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from experiments.encoders.pretrained import weights_file
from experiments.encoders.weights_files import Refused, read_tensors

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
TENSORS = {
    "weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "turned": np.arange(6, dtype=np.float64).reshape(2, 3).T,
    "count": np.array(7),
    "none": np.zeros((0, 3), np.float32),
    "half": np.ones(3, np.float16),
    "yes": np.array([True, False]),
}
KINDS = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "bool": "BoolStorage",
}


class Named:
    """Pickled, by hand, as a name and nothing else."""

    def __init__(self, module, name):
        self.line = f"c{module}\n{name}\n".encode()


class Writer(pickle._Pickler):
    """What torch writes, without torch: names, and numbers kept elsewhere."""

    def save(self, obj, *args, **kwargs):
        if isinstance(obj, Named):
            return self.write(obj.line)
        return super().save(obj, *args, **kwargs)

    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, Stored) else None


class Stored:
    def __init__(self, key, array, legacy):
        kind = Named("torch", KINDS[str(array.dtype)])
        view = (None,) if legacy else ()
        self.pid = ("storage", kind, key, "cpu", array.size, *view)


class Rebuilt:
    def __init__(self, key, array, legacy, offset=0, strides=None):
        steps = [step // array.itemsize for step in array.strides]
        strides = tuple(steps) if strides is None else strides
        shape = tuple(array.shape)
        self.args = Stored(key, array, legacy), offset, shape, strides, False, {}

    def __reduce__(self):
        raise AssertionError  # `dump` writes it


def dump(value):
    stream = io.BytesIO()
    writer = Writer(stream, 2)
    writer.dispatch = {**pickle._Pickler.dispatch, Rebuilt: save_rebuilt}
    writer.dump(value)
    return stream.getvalue()


def save_rebuilt(writer, obj):
    writer.write(b"ctorch._utils\n_rebuild_tensor_v2\n")
    writer.save(obj.args)
    writer.write(pickle.REDUCE)
    writer.memoize(obj)


def legacy_file(arrays, pickled=None, keys=None):
    """As torch wrote it before 1.6."""
    whole = {name: Rebuilt(name, array, True) for name, array in arrays.items()}
    parts = [MAGIC, PROTOCOL, {"protocol_version": 1001, "little_endian": True}]
    content = b"".join(pickle.dumps(part, 2) for part in parts)
    content += dump(OrderedDict(whole)) if pickled is None else pickled
    content += pickle.dumps(list(arrays) if keys is None else keys, 2)
    for array in arrays.values():
        content += struct.pack("<q", array.size) + array.tobytes("A")
    return content


def archive_file(arrays, pickled=None):
    """As torch writes it now."""
    whole = {name: Rebuilt(name, array, False) for name, array in arrays.items()}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("model/data.pkl", dump(whole) if pickled is None else pickled)
        archive.writestr("model/byteorder", "little")
        for name, array in arrays.items():
            archive.writestr(f"model/data/{name}", array.tobytes("A"))
    return stream.getvalue()


each_format = pytest.mark.parametrize("form", [legacy_file, archive_file])


def saved(folder, content):
    file = folder / "weights.pth"
    file.write_bytes(content)
    return file


@each_format
def test_tensors_are_read_as_they_are(tmp_path, form):
    found = read_tensors(saved(tmp_path, form(TENSORS)))
    assert list(found) == list(TENSORS)
    for name, array in TENSORS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_the_package_of_weights_is_read():
    """Against the figures that its own network's table gives."""
    found = read_tensors(weights_file(0))
    assert len(found) == 296
    learned = {
        n: x for n, x in found.items() if "running" not in n and x.dtype.kind == "f"
    }
    assert sum(x.size for x in learned.values()) == 4_652_008
    assert found["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert all((x >= 0).all() for n, x in found.items() if n.endswith("running_var"))


class Attack:
    def __init__(self, run):
        self.run = run

    def __reduce__(self):
        return os.system, (self.run,)


@each_format
@pytest.mark.parametrize("protocol", [2, 4])
def test_code_is_refused_and_not_run(tmp_path, form, protocol):
    proof = tmp_path / "proof"
    attack = {"weight": Attack(f"touch {proof}")}
    file = saved(tmp_path, form(TENSORS, pickle.dumps(attack, protocol)))
    with pytest.raises(Refused, match=r"weights.pth is refused: it names posix.system"):
        read_tensors(file)
    assert not proof.exists()
    pickle.loads(pickle.dumps(attack, protocol))  # which would have run it
    assert proof.exists()


def test_code_is_refused_wherever_it_stands(tmp_path):
    proof = tmp_path / "proof"
    attack = pickle.dumps(Attack(f"touch {proof}"), 2)
    whole = legacy_file(TENSORS)
    start = len(pickle.dumps(MAGIC, 2))
    for content in (attack, whole[:start] + attack + whole[start:]):
        with pytest.raises(Refused, match="only tensors are read"):
            read_tensors(saved(tmp_path, content))
    assert not proof.exists()


@pytest.mark.parametrize(
    "name",
    [
        ("builtins", "eval"),
        ("torch", "load"),
        ("torch.nn.modules.linear", "Linear"),
        ("collections", "OrderedDict.fromkeys"),
        ("collections", "deque"),
        ("numpy", "dtype"),
        ("experiments.encoders.weights_files", "read_tensors"),
    ],
)
def test_every_other_name_is_refused(tmp_path, name):
    content = archive_file(TENSORS, dump({"weight": Named(*name)}))
    with pytest.raises(Refused, match=f"it names {name[0]}.{name[1]}, and only"):
        read_tensors(saved(tmp_path, content))


@each_format
def test_a_file_that_is_cut_off_or_changed_is_never_read_for_another(tmp_path, form):
    whole = form(TENSORS)
    for end in {*range(0, len(whole), 37), len(whole) - 1}:
        with pytest.raises(ValueError, match=r"weights\.pth"):
            read_tensors(saved(tmp_path, whole[:end]))
    rng = np.random.default_rng(0)
    for place in rng.choice(len(whole), 100, replace=False):
        spoilt = bytearray(whole)
        spoilt[place] ^= 0xFF
        said = "weights.pth"
        try:
            found = read_tensors(saved(tmp_path, bytes(spoilt)))
        except ValueError as error:
            said, found = str(error), {}
        # A number or a name may be another one: nothing tells these.
        assert "weights.pth" in said
        assert all(type(x) is np.ndarray for x in found.values())


@each_format
def test_a_tensor_reads_nothing_but_its_own_numbers(tmp_path, form):
    legacy = form is legacy_file
    array = np.arange(4, dtype=np.float32)
    for place in (
        {"offset": 1},
        {"strides": (2,)},
        {"offset": -1},
        {"strides": (-1,)},
        {"strides": (1, 1)},
    ):
        pickled = dump({"a": Rebuilt("a", array, legacy, **place)})
        with pytest.raises(ValueError, match=r"a tensor (does not fit|is larger)"):
            read_tensors(saved(tmp_path, form({"a": array}, pickled)))
    huge = np.lib.stride_tricks.as_strided(array, (10**9,), (0,))
    rebuilt = Rebuilt("a", array, legacy)
    rebuilt.args = (rebuilt.args[0], 0, huge.shape, (0,))
    with pytest.raises(ValueError, match="a tensor is larger than its numbers"):
        read_tensors(saved(tmp_path, form({"a": array}, dump({"a": rebuilt}))))


@each_format
def test_what_is_no_dictionary_of_tensors_is_refused(tmp_path, form):
    for value in ([1, 2], {"epoch": 3}, {"state": {}}, {1: None}):
        with pytest.raises(ValueError, match=r"of a model, save the\s+state_dict"):
            read_tensors(saved(tmp_path, form(TENSORS, pickle.dumps(value, 2))))


def test_other_files_are_refused(tmp_path):
    for content in (b"", b"hello", b"\x89PNG\r\n", pickle.dumps({}), b"\x80\x02."):
        with pytest.raises(ValueError, match=r"weights\.pth is damaged, or not"):
            read_tensors(saved(tmp_path, content))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_tensors(tmp_path / "nowhere.pth")


@pytest.mark.parametrize(
    ("opcodes", "message"),
    [
        (b"\x80\x02N" + b"r\xff\xff\xff\x7f.", "LONG_BINPUT 2147483647"),
        (b"\x80\x02Np99999999999\n.", "PUT 99999999999"),
        (b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b".", "expected|BYTEARRAY8"),
    ],
)
@each_format
def test_an_opcode_takes_no_memory_on_trust(tmp_path, form, opcodes, message):
    file = saved(tmp_path, form(TENSORS, pickled=opcodes))
    tracemalloc.start()
    with pytest.raises(ValueError, match=message) as caught:
        read_tensors(file)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
    assert not isinstance(caught.value.__cause__, MemoryError)


def test_many_tensors_of_the_same_numbers_are_refused(tmp_path):
    array = np.zeros(2**18, np.float32)
    many = {f"t{k}": Rebuilt("a", array, False) for k in range(200)}
    for names, right in ((many, False), ({"t": many["t1"], "u": many["t2"]}, True)):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("model/data.pkl", dump(names))
            archive.writestr("model/data/a", array.tobytes())
        file = saved(tmp_path, stream.getvalue())
        if right:
            assert list(read_tensors(file)) == ["t", "u"]
            continue
        with pytest.raises(ValueError, match="tensors would take 209,715,200 bytes"):
            read_tensors(file)
