"""Where the weights come from, and what is said when they are not there."""

import numpy as np
import pytest

from experiments.data import packages
from experiments.encoders import pretrained
from jatlas.charts.efficientnet import tensor_shapes


def test_the_weights_are_those_of_the_package():
    file = pretrained.weights_file()
    assert file.name == "efficientnet-lite0-57934424.pth"


def test_a_package_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(packages.util, "find_spec", lambda name: None)
    with pytest.raises(
        FileNotFoundError,
        match=r"EfficientNet-Lite1 are not here.*jatlas\[pretrained\].*lite1-pytorch",
    ):
        pretrained.encoder(1)


def test_another_variant_is_refused():
    with pytest.raises(ValueError, match=r"no EfficientNet-Lite7 here.*\(0, 1, 2\)"):
        pretrained.encoder(7)


def test_another_file_is_taken_and_errors_name_it(tmp_path, monkeypatch):
    shapes = tensor_shapes(0)
    ones = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    monkeypatch.setattr(pretrained, "read_tensors", lambda path: ones)
    bias = pretrained.encoder(weights=tmp_path / "mine.pth").head_bias[...]
    np.testing.assert_array_equal(bias, np.ones(1000))
    del ones["_fc.bias"]
    with pytest.raises(ValueError, match=r"mine\.pth: the weights of .* missing are 1"):
        pretrained.encoder(weights=tmp_path / "mine.pth")
    monkeypatch.undo()
    (tmp_path / "mine.pth").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"^\S+mine\.pth is damaged"):
        pretrained.encoder(weights=tmp_path / "mine.pth")
    with pytest.raises(FileNotFoundError):
        pretrained.encoder(weights=tmp_path / "other.pth")
