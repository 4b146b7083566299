"""Weights in Hugging Face folders, read and written without PyTorch: safetensors or PyTorch's zip of a
pickle, whole or in shards; f32, f16, bf16."""

import json
import pickle
import struct
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np

BF16 = np.dtype(ml_dtypes.bfloat16)
# By what they are called in safetensors, and by the storages of PyTorch.
SAFETENSORS = {"F32": np.dtype(np.float32), "F16": np.dtype(np.float16), "BF16": BF16}
STORAGES = {
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": BF16,
}


def read_folder(folder: Path) -> dict[str, np.ndarray]:
    """Every tensor of the weights in `folder`."""
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= read_safetensors(path)
    for path in sorted(folder.glob("pytorch_model*.bin")):
        tensors |= read_torch(path)
    return tensors


def write_folder(folder: Path, tensors: dict[str, np.ndarray], form: str, shards: int = 1) -> None:
    """Writes `model.safetensors` or `pytorch_model.bin`, or so many shards and their index."""
    stem, suffix, write = {
        "safetensors": ("model", "safetensors", write_safetensors),
        "bin": ("pytorch_model", "bin", write_torch),
    }[form]
    if shards == 1:
        write(folder / f"{stem}.{suffix}", tensors)
        return
    names, weight_map = list(tensors), {}
    for index in range(shards):
        file = f"{stem}-{index + 1:05}-of-{shards:05}.{suffix}"
        part = {name: tensors[name] for name in names[index::shards]}
        write(folder / file, part)
        weight_map |= dict.fromkeys(part, file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps(index))


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            begin, end = (start + offset for offset in entry["data_offsets"])
            values = np.frombuffer(data[begin:end], SAFETENSORS[entry["dtype"]])
            tensors[name] = values.reshape(entry["shape"])
    return tensors


def write_safetensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    names = {dtype: name for name, dtype in SAFETENSORS.items()}
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.nbytes
        header[name] = {"dtype": names[tensor.dtype], "shape": tensor.shape, "data_offsets": [begin, end]}
    header = json.dumps(header).encode()
    parts = [len(header).to_bytes(8, "little"), header, *(t.tobytes() for t in tensors.values())]
    path.write_bytes(b"".join(parts))


class TensorUnpickler(pickle.Unpickler):
    """Knows the few names that a state dict's pickle has."""

    def __init__(self, archive: zipfile.ZipFile, pickled: str):
        super().__init__(archive.open(pickled))
        self.archive, self.folder = archive, pickled.removesuffix("data.pkl")

    def find_class(self, module: str, name: str):
        if name == "_rebuild_tensor_v2":
            return rebuild_tensor
        return STORAGES[name] if module == "torch" else super().find_class(module, name)

    def persistent_load(self, key: tuple) -> np.ndarray:
        _, dtype, name, _, _ = key
        return np.frombuffer(self.archive.read(f"{self.folder}data/{name}"), dtype)


def rebuild_tensor(storage: np.ndarray, offset: int, shape: tuple, stride: tuple, *_) -> np.ndarray:
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, strides).copy()


def read_torch(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        pickled = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        return dict(TensorUnpickler(archive, pickled).load())


def write_torch(path: Path, tensors: dict[str, np.ndarray]) -> None:
    names = {dtype: name for name, dtype in STORAGES.items()}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle_of(tensors, names))
        archive.writestr("archive/version", "3\n")
        for index, tensor in enumerate(tensors.values()):
            archive.writestr(f"archive/data/{index}", tensor.tobytes())


def pickle_of(tensors: dict[str, np.ndarray], storages: dict[np.dtype, str]) -> bytes:
    """The pickle of a state dict, in its opcodes: Python's pickler would need PyTorch's classes."""

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value.encode())) + value.encode()

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    def tuple_of(*items: bytes) -> bytes:
        return b"(" + b"".join(items) + b"t"

    def name(module: str, attribute: str) -> bytes:
        return f"c{module}\n{attribute}\n".encode()

    items = []
    for index, (key, tensor) in enumerate(tensors.items()):
        storage = [text("storage"), name("torch", storages[tensor.dtype]), text(f"{index}")]
        stored = tuple_of(*storage, text("cpu"), number(tensor.size)) + b"Q"
        stride = [step // tensor.itemsize for step in tensor.strides]
        shape, stride = (tuple_of(*map(number, sizes)) for sizes in (tensor.shape, stride))
        hooks = name("collections", "OrderedDict") + b")R"
        arguments = tuple_of(stored, number(0), shape, stride, b"\x89", hooks)
        items.append(text(key) + name("torch._utils", "_rebuild_tensor_v2") + arguments + b"R")
    return b"\x80\x02}(" + b"".join(items) + b"u."
