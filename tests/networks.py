"""A tiny network for pictures, as a user may bring one: the mean of some functions of each pixel's colour."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DIM = 24
PIXELS = 32
KNOTS = 8
"""Straight lines that begin at so many brightnesses, of each colour."""


def write_onnx(path: Path, batch: int | str = "n") -> str:
    """Write the network; return its digest.

    Args:
        path: Where to.
        batch: How many pictures it takes at a time; a name: any number.
    """
    weights = np.kron(np.eye(3), np.ones((KNOTS, 1))).astype(np.float32).reshape(DIM, 3, 1, 1)
    bias = np.tile(-np.linspace(-1, 1, KNOTS), 3).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["picture", "weights", "bias"], ["lines"]),
            helper.make_node("Relu", ["lines"], ["bent"]),
            helper.make_node("GlobalAveragePool", ["bent"], ["means"]),
            helper.make_node("Flatten", ["means"], ["descriptor"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [batch, 3, PIXELS, PIXELS])],
        [helper.make_tensor_value_info("descriptor", TensorProto.FLOAT, [batch, DIM])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def toml(file: str, sha256: str, /, **changes: str | None) -> str:
    """What describes the network; keyword arguments are lines to change, as TOML, or to leave out."""
    lines: dict[str, str | None] = {
        "name": '"image.tiny"',
        "version": "2",
        "file": f'"{file}"',
        "sha256": f'"{sha256}"',
        "dim": str(DIM),
        "pixels": str(PIXELS),
        "mean": "[0.5, 0.5, 0.5]",
        "std": "[0.5, 0.5, 0.5]",
        **changes,
    }
    return "".join(f"{name} = {value}\n" for name, value in lines.items() if value is not None)


def write(folder: Path, **changes: str | None) -> Path:
    """Write the network and its TOML file; return the latter."""
    path = folder / "network.toml"
    path.write_text(toml("tiny.onnx", write_onnx(folder / "tiny.onnx"), **changes), encoding="utf-8")
    return path
