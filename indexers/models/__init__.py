"""The trained network that ships with the package, and its background; README.md beside this tells more."""

from pathlib import Path

COPYDETECT = Path(__file__).with_name("copydetect_v1.onnx")
"""Copy-detection network: (n, s, s, 3) uint8 RGB in, (n, 256) float32 unit vectors out."""

COPYDETECT_SHA256 = "56dab5b889c41f43c061baf6ae41557572e97ac7b62cad990edb7f1c8f0688d8"

COPYDETECT_PIXELS = 160
"""Side s of the network's input at which `image.cnn.v1` is defined."""

BACKGROUND = Path(__file__).with_name("background_v1.npy")
"""Descriptors of unrelated pictures by `COPYDETECT`, (n, 256) int8 of any scale, for score normalisation."""

BACKGROUND_SHA256 = "e96d30cc10eaba6cd88ab8adac383c1ec2d5ab82c91e437a66a58d1dad65fc30"
