"""Embedders that run in PyTorch, on a GPU where there is one: for large catalogues, and for comparison."""

import io
import warnings
from collections.abc import Sequence

import numpy as np

from indexers.errors import ModelError
from indexers.fingerprint import Metric, Scheme, SpanUnit
from indexers.image.decode import Picture
from indexers.image.embed import (
    BUILT_IN,
    Descriptors,
    NetworkSpec,
    checked,
    in_batches,
    prepare,
    square,
    unit,
)

try:
    import torch
    from torch import nn

    from indexers.training.export import read_weights
    from indexers.training.network import CopyNet, fold, imagenet_trunk
except ImportError as error:
    raise ImportError("PyTorch is needed here: pip install 'copyhound[training]'") from error

_BATCH = 64


class TorchEmbedder:
    """`indexers.image.embed.Embedder` of our network, or of a user's own in TorchScript.

    Ours is read from the file that `OnnxEmbedder` reads, and descriptors agree to 1e-4: a catalogue that was
    indexed on a GPU can be searched on CPUs. TorchScript is code: load that of people whom you trust.
    """

    def __init__(self, spec: NetworkSpec = BUILT_IN, device: str | None = None) -> None:
        """Load the network onto a device; by default a GPU, or the CPU where there is none.

        Args:
            spec: A file that ends in ``.onnx`` is an export of `CopyNet`, any other is TorchScript.
            device: As PyTorch calls it.

        Raises:
            ModelError: If the file is not the scheme's, or cannot be loaded.
        """
        net = _ours(spec) if spec.path.suffix == ".onnx" else _scripted(spec)
        self._spec = spec
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._net = net.eval().to(self._device)

    @property
    def scheme(self) -> Scheme:
        """The scheme of the descriptors."""
        return self._spec.scheme

    def embed(self, pictures: Sequence[Picture]) -> Descriptors:
        """Describe pictures of any sizes.

        Raises:
            ModelError: If the network's answer does not fit the scheme.
        """
        return in_batches(pictures, _BATCH, self.scheme.dim, self._forward)

    def _forward(self, pictures: Sequence[Picture]) -> Descriptors:
        with torch.no_grad():
            answer = self._net(torch.from_numpy(prepare(pictures, self._spec)).to(self._device))
        return checked(answer.cpu().numpy(), self._spec)


def _ours(spec: NetworkSpec) -> nn.Module:
    net = fold(CopyNet())
    try:
        weights = read_weights(spec.read())
        net.load_state_dict({name: weights[name] for name in net.state_dict()})
    except KeyError as error:
        raise ModelError(f"{spec.path} is no export of our network: it lacks {error}") from error
    return net


def _scripted(spec: NetworkSpec) -> nn.Module:
    data = io.BytesIO(spec.read())
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*torch.jit")  # it goes; published networks still use it
            script: nn.Module = torch.jit.load(data, map_location="cpu")  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise ModelError(f"{spec.path} is no TorchScript that can be loaded: {error}") from error
    return script


class PlainEmbedder:
    """The peer: the ImageNet network's pooled features, as they are."""

    scheme = Scheme("image.lite0", 1, 1280, Metric.COSINE, SpanUnit.FRAME)

    def __init__(self, pixels: int) -> None:
        """Load the weights; pictures are brought to `pixels` × `pixels`."""
        self._net = CopyNet()
        self._net.trunk = imagenet_trunk()
        self._net.eval().requires_grad_(requires_grad=False)
        self._pixels = pixels

    def embed(self, pictures: Sequence[Picture]) -> Descriptors:
        """Describe pictures of any sizes."""
        return in_batches(pictures, _BATCH, self.scheme.dim, self._forward)

    def _forward(self, pictures: Sequence[Picture]) -> Descriptors:
        squares = np.stack([square(picture, self._pixels) for picture in pictures])
        return unit(self._net.features(torch.from_numpy(squares)).numpy())
