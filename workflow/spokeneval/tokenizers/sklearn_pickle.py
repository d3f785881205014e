"""Arrays out of the pickles in which models of scikit-learn are published, without running anything that is in them.

Conventions
-----------
- joblib writes a pickle in which an array is a small object, followed by its raw bytes in the same file; plain pickles
  hold arrays as numpy writes them. Both are read, also compressed (zlib, gzip, bz2, xz, lzma); neither joblib nor
  scikit-learn is needed.
- Whatever of scikit-learn, numpy or joblib a pickle names becomes an inert `Shell` that keeps what it is given;
  anything else that a pickle could call is refused by name.
- Only arrays of plain numbers are read.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spokeneval.errors import ConfigError

_COMPRESSED: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x78": zlib.decompress,
    b"\x1f\x8b": gzip.decompress,
    b"BZ": bz2.decompress,
    b"\xfd7zXZ": lzma.decompress,
    b"\x5d\x00": lzma.decompress,
}
"""First bytes -> what undoes it."""


class Shell:
    """Stands for an object: keeps the arguments and the state that the pickle gives it, and does nothing."""

    arguments: tuple[Any, ...]
    state: Any = None

    def __new__(cls, *arguments: Any) -> Shell:
        shell = super().__new__(cls)
        shell.arguments = arguments
        return shell

    def __setstate__(self, state: Any) -> None:
        self.state = state


class StoredArray(Shell):
    """An array, as numpy writes it into a pickle or as joblib does."""

    data: bytes | None = None
    """What follows the object in joblib's files."""

    def array(self) -> NDArray[Any]:
        """Raises UnpicklingError where it holds anything but numbers, or not as many as its shape says."""
        if isinstance(self.state, dict):  # joblib
            shape, kind, data = self.state["shape"], self.state["dtype"], self.data
            by_columns = self.state["order"] == "F"
        elif self.state is None:  # numpy, pickle protocol 5
            data, kind, shape, order = self.arguments
            by_columns = order == "F"
        else:  # numpy, protocols up to 4
            _, shape, kind, by_columns, data = self.state
        dtype = _plain_dtype(kind)
        if not isinstance(data, bytes | bytearray) or len(data) != math.prod(shape) * dtype.itemsize:
            raise pickle.UnpicklingError(f"does not hold all numbers of an array of shape {shape}")
        return np.frombuffer(data, dtype).reshape(shape, order="F" if by_columns else "C")


class _Dtype(Shell):
    pass


def _plain_dtype(kind: Any) -> np.dtype[Any]:
    """Arrays of objects would hold pickles of their own."""
    text = kind.arguments[0] if isinstance(kind, _Dtype) else kind
    dtype = np.dtype(text if isinstance(text, str) else object)
    if dtype.kind not in "biuf":
        raise pickle.UnpicklingError(f"holds an array of {text}; expected numbers")
    return dtype.newbyteorder(kind.state[1])


def read_pickle(path: Path) -> Any:
    """What a file holds: a Shell, or plain Python values. Raises ConfigError naming what in it is not read."""
    content = path.read_bytes()
    undo = next((undo for magic, undo in _COMPRESSED.items() if content.startswith(magic)), bytes)
    try:
        return _Inert(io.BytesIO(undo(content))).load()
    except (pickle.UnpicklingError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        raise ConfigError(f"{path}: cannot be read as a pickle of scikit-learn: {error}") from error
    except (LookupError, AttributeError, TypeError, ValueError, ArithmeticError, MemoryError, struct.error) as error:
        raise ConfigError(f"{path}: is not a whole pickle of scikit-learn ({type(error).__name__}: {error})") from error


def _build(unpickler: Any) -> None:
    """Gives an object its state; where joblib's array begins, also reads the bytes that follow in the file."""
    pickle._Unpickler.dispatch[pickle.BUILD[0]](unpickler)
    built, file = unpickler.stack[-1], unpickler.file
    if isinstance(built, StoredArray) and isinstance(built.state, dict):
        if built.state.get("numpy_array_alignment_bytes") is not None:
            file.read(file.read(1)[0])  # what aligns the array
        built.data = file.read(math.prod(built.state["shape"]) * _plain_dtype(built.state["dtype"]).itemsize)


class _Inert(pickle._Unpickler):  # the one in Python: joblib puts an array's bytes between two of its instructions
    """Makes shells, and nothing else."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {**pickle._Unpickler.dispatch, pickle.BUILD[0]: _build}

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.file = file

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):  # how protocols up to 2 write bytes
            return lambda text, _: text.encode("latin1")
        if name in {"_reconstruct", "_frombuffer", "NumpyArrayWrapper"}:
            return StoredArray
        if (module, name) == ("numpy", "dtype"):
            return _Dtype
        if (module, name) in {("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor")}:  # protocols 0 and 1
            return lambda shell, *_: shell()
        if module.partition(".")[0] in {"sklearn", "numpy", "joblib"} or name == "object":
            return Shell
        raise pickle.UnpicklingError(f"it names {module}.{name}; expected classes of scikit-learn and numpy only")
