"""Export of a trained network to ONNX: from uint8 RGB pixels to unit vectors, normalisation inside.

    python -m indexers.training.export STATE/checkpoint.pt indexers/models/copydetect_v1.onnx

prints the file's SHA-256, which belongs into `indexers/models/__init__.py`.
"""

import argparse
import hashlib
from pathlib import Path

import onnx
import torch
from torch import Tensor

from indexers.training.network import CopyNet, fold

INPUT = "pictures"
OUTPUT = "descriptors"
OPSET = 18


def averaged(checkpoint: Path) -> CopyNet:
    """Load the averaged weights of a checkpoint, ready to describe."""
    net = CopyNet()
    net.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["average"])
    return net.eval().requires_grad_(requires_grad=False)


def export(net: CopyNet, path: Path) -> str:
    """Write a network as ONNX and return the file's SHA-256 in hexadecimal.

    The graph takes `pictures`, (n, s, s, 3) uint8 RGB with s a multiple of 32, and gives `descriptors`,
    (n, 256) float32 of length 1. n and s are free. Weights keep the names that they have in `fold`'s result.
    """
    example = torch.zeros(2, 160, 160, 3, dtype=torch.uint8)
    sizes = {axis: torch.export.Dim(f"axis{axis}", min=1, max=64) * 32 for axis in (1, 2)}
    program = torch.onnx.export(
        fold(net),
        (example,),
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("n"), **sizes},),
        opset_version=OPSET,
        dynamo=True,
        optimize=True,
    )
    if program is None:
        raise RuntimeError("this PyTorch exports nothing: use the version that constraints.txt names")
    program.save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_weights(data: bytes) -> dict[str, Tensor]:
    """Read the weights of an exported network by their names in `fold`'s result."""
    graph = onnx.load_model_from_string(data).graph
    return {
        item.name: torch.from_numpy(onnx.numpy_helper.to_array(item).copy()) for item in graph.initializer
    }


def main() -> None:
    """Export a checkpoint."""
    parser = argparse.ArgumentParser(description="Export a checkpoint to ONNX.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("onnx", type=Path)
    given = parser.parse_args()
    print(export(averaged(given.checkpoint), given.onnx))  # noqa: T201 - the command's answer


if __name__ == "__main__":
    main()
