"""Published k-means become codebooks, whatever wrote them, and nothing that such a file holds is ever run.

joblib and scikit-learn are not among the requirements: files are written here as they write them, under their names.
Where both are installed, their own files are read as well.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import pickle
import sys
import types
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from spokeneval.errors import ConfigError
from spokeneval.tokenizers.codebook import read_codebook
from spokeneval.tokenizers.convert_kmeans import main, read_centroids


def some_centroids(dtype: str = "float32") -> NDArray[Any]:
    return np.random.default_rng(0).standard_normal((5, 12)).astype(dtype)


class MiniBatchKMeans:
    """A fitted model as scikit-learn's pickles name it."""

    def __init__(self, centroids: Any) -> None:
        self.n_clusters = 5
        self.random_state = np.random.RandomState(3)
        self.labels_ = np.arange(7, dtype=np.int32)
        self.cluster_centers_ = centroids
        self.counts_ = np.ones(5)
        self._sklearn_version = "1.0.1"


class NumpyArrayWrapper:
    """The object that joblib writes before the bytes of an array."""

    def __init__(self, array: NDArray[Any], aligned: bool) -> None:
        self.subclass = np.ndarray
        self.shape = array.shape
        self.order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        self.dtype = array.dtype
        self.allow_mmap = True
        if aligned:
            self.numpy_array_alignment_bytes = 16


@pytest.fixture(autouse=True)
def published_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classes above pickle under the names that published files hold."""
    for kind, name in ((MiniBatchKMeans, "sklearn.cluster._kmeans"), (NumpyArrayWrapper, "joblib.numpy_pickle")):
        parts = name.split(".")
        for n in range(len(parts)):
            monkeypatch.setitem(sys.modules, ".".join(parts[: n + 1]), types.ModuleType(parts[n]))
        setattr(sys.modules[name], kind.__name__, kind)
        monkeypatch.setattr(kind, "__module__", name)


class JoblibWriter(pickle._Pickler):
    """Arrays out of the pickle and after their wrapper, as joblib writes them."""

    def __init__(self, file: io.BytesIO, protocol: int, aligned: bool) -> None:
        super().__init__(file, protocol)
        self.file, self.aligned = file, aligned

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if type(obj) is not np.ndarray:
            super().save(obj, save_persistent_id)
            return
        wrapper = NumpyArrayWrapper(obj, self.aligned)
        super().save(wrapper)
        if self.proto >= 4:
            self.framer.commit_frame(force=True)
        if obj.dtype.hasobject:
            pickle.dump(obj, self.file, protocol=2)
            return
        if self.aligned:
            padding = 16 - (self.file.tell() + 1) % 16
            self.file.write(bytes([padding]) + b"\xff" * padding)
        self.file.write(obj.tobytes(order="F" if wrapper.order == "F" else "C"))


def joblib_bytes(model: Any, protocol: int = 4, aligned: bool = True) -> bytes:
    file = io.BytesIO()
    JoblibWriter(file, protocol, aligned).dump(model)
    return file.getvalue()


def check(path: Path, expected: NDArray[Any]) -> None:
    found = read_centroids(path)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected.astype(np.float32))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64", ">f4"])
def test_joblibs_files_are_read(tmp_path: Path, protocol: int, aligned: bool, dtype: str) -> None:
    path = tmp_path / "km.bin"
    path.write_bytes(joblib_bytes(MiniBatchKMeans(some_centroids(dtype)), protocol, aligned))
    check(path, some_centroids(dtype))


@pytest.mark.parametrize("protocol", range(6))
def test_plain_pickles_are_read(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "km.pkl"
    path.write_bytes(pickle.dumps(MiniBatchKMeans(some_centroids()), protocol))
    check(path, some_centroids())


@pytest.mark.parametrize("write", [joblib_bytes, pickle.dumps])
def test_centroids_without_a_model_and_by_columns_are_read(tmp_path: Path, write: Callable[[Any], bytes]) -> None:
    path = tmp_path / "km.bin"
    for array in (some_centroids(), np.asfortranarray(some_centroids())):
        path.write_bytes(write(array))
        check(path, some_centroids())


@pytest.mark.parametrize("compress", [zlib.compress, gzip.compress, bz2.compress, lzma.compress])
def test_compressed_files_are_read(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "km.bin"
    path.write_bytes(compress(joblib_bytes(MiniBatchKMeans(some_centroids()))))
    check(path, some_centroids())


def test_arrays_of_numpy_and_torch_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "km.npy", some_centroids("float64"))
    check(tmp_path / "km.npy", some_centroids("float64"))
    torch.save(torch.from_numpy(some_centroids()), tmp_path / "km.pt")
    check(tmp_path / "km.pt", some_centroids())


def test_the_files_of_scikit_learn_and_joblib_are_read_where_they_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    joblib, cluster = pytest.importorskip("joblib"), pytest.importorskip("sklearn.cluster")
    points = np.random.default_rng(0).standard_normal((300, 12)).astype(np.float32)
    for number, kind in enumerate((cluster.KMeans, cluster.MiniBatchKMeans)):
        fitted = kind(7, n_init=1, random_state=0).fit(points)
        for compress in (0, 3, ("bz2", 3)):
            path = tmp_path / f"{number}.bin"
            joblib.dump(fitted, path, compress=compress)
            check(path, fitted.cluster_centers_)


def test_the_command_writes_a_codebook_and_says_what_it_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "km.bin").write_bytes(joblib_bytes(MiniBatchKMeans(some_centroids())))
    target = tmp_path / "centroids.safetensors"
    main([str(tmp_path / "km.bin"), str(target)])
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    assert capsys.readouterr().out == f"{target}: 5 centroids of size 12, sha256 {digest}\n"
    assert list(load_file(target)) == ["centroids"]
    np.testing.assert_array_equal(read_codebook(target, {"centroids": (5, 12)})["centroids"], some_centroids())


class Harm:
    """What an unpickler that is not careful would run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("write", [joblib_bytes, pickle.dumps])
def test_nothing_in_a_file_is_run(tmp_path: Path, write: Callable[[Any, int], bytes], protocol: int) -> None:
    path, trace = tmp_path / "km.bin", tmp_path / "run"
    inside = MiniBatchKMeans(some_centroids())
    inside.n_clusters = Harm(trace)
    for model in (Harm(trace), inside):
        path.write_bytes(write(model, protocol))
        with pytest.raises(ConfigError, match=r"km\.bin: cannot be read .* it names (posix|nt)\.system; expected"):
            read_centroids(path)
    assert not trace.exists()


def test_arrays_of_objects_are_refused_unread(tmp_path: Path) -> None:
    trace = tmp_path / "run"
    objects = np.array([[Harm(trace)]], dtype=object)
    for content in (joblib_bytes(MiniBatchKMeans(objects)), joblib_bytes(objects)):
        (tmp_path / "km.bin").write_bytes(content)
        with pytest.raises(ConfigError, match="holds an array of O8; expected numbers"):
            read_centroids(tmp_path / "km.bin")
    np.save(tmp_path / "km.npy", objects, allow_pickle=True)
    with pytest.raises(ConfigError, match=r"km\.npy: cannot be read as \.npy"):
        read_centroids(tmp_path / "km.npy")
    torch.save(Harm(trace), tmp_path / "km.pt")
    with pytest.raises(ConfigError, match=r"km\.pt: cannot be read as tensors"):
        read_centroids(tmp_path / "km.pt")
    assert not trace.exists()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (MiniBatchKMeans(None), "holds no `cluster_centers_`; expected a fitted KMeans"),
        ({"centroids": [1.0]}, "holds no `cluster_centers_`"),
        (MiniBatchKMeans(np.zeros(5)), r"holds float64 of shape \(5,\); expected floats \(K, d\)"),
        (MiniBatchKMeans(np.zeros((5, 2), np.int64)), r"holds int64 of shape \(5, 2\); expected floats"),
        (MiniBatchKMeans(np.zeros((0, 2))), r"holds float64 of shape \(0, 2\)"),
        (MiniBatchKMeans(np.array([[np.nan, 1.0]])), "holds 1 NaN or infinite numbers"),
    ],
)
def test_what_is_no_codebook_is_named(tmp_path: Path, model: Any, message: str) -> None:
    for content in (joblib_bytes(model), pickle.dumps(model)):
        (tmp_path / "km.bin").write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            read_centroids(tmp_path / "km.bin")


def test_a_file_that_is_cut_short_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    for content in (joblib_bytes(MiniBatchKMeans(some_centroids())), pickle.dumps(MiniBatchKMeans(some_centroids()))):
        for n in range(len(content)):
            (tmp_path / "km.bin").write_bytes(content[:n])
            with pytest.raises(ConfigError, match=r"km\.bin"):
                read_centroids(tmp_path / "km.bin")


def test_the_command_ends_with_the_error_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"error: .*nowhere\.bin: no such file"):
        main([str(tmp_path / "nowhere.bin"), str(tmp_path / "centroids.safetensors")])
    (tmp_path / "km.bin").write_bytes(b"no pickle at all")
    with pytest.raises(SystemExit, match=r"error: .*km\.bin"):
        main([str(tmp_path / "km.bin"), str(tmp_path / "centroids.safetensors")])
    torch.save({"weight": torch.zeros(5, 12)}, tmp_path / "km.pt")
    with pytest.raises(SystemExit, match="holds a dict; expected one tensor"):
        main([str(tmp_path / "km.pt"), str(tmp_path / "centroids.safetensors")])
    assert not (tmp_path / "centroids.safetensors").exists()
