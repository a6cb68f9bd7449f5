"""Networks of parallel branches: GoogLeNet and Inception-v3, both without auxiliary classifiers.

Each function takes an empty `Layers` and returns the id of the logits.
"""

from __future__ import annotations

from models.zoo.layers import Layers, Pair

CLASSES = 1000

GOOGLENET_MODULES = {
    # name: 1x1, 3x3 reduce, 3x3, "5x5" reduce, "5x5", pool projection (Table 1 of the paper)
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet(net: Layers) -> str:
    """Build GoogLeNet as torchvision has it: batch normalised, 3x3 kernels in the "5x5" branch.

    Szegedy et al., "Going deeper with convolutions" (2015).
    """
    x = net.input("input", 3, 224, 224)
    x = _unit(net, "1", x, 64, 7, stride=2, padding=3)
    x = net.max_pool("pool1", x, 3, 2, round_up=True)
    x = _unit(net, "2_reduce", x, 64, 1)
    x = _unit(net, "2", x, 192, 3, padding=1)
    x = net.max_pool("pool2", x, 3, 2, round_up=True)
    for module, widths in GOOGLENET_MODULES.items():
        if module == "4a":
            x = net.max_pool("pool3", x, 3, 2, round_up=True)
        elif module == "5a":
            x = net.max_pool("pool4", x, 2, 2, round_up=True)
        x = _googlenet_module(net, module, x, widths)
    return net.linear("fc", net.global_avg_pool("gap", x), CLASSES)


def inception_v3(net: Layers) -> str:
    """Build Inception-v3.

    Szegedy et al., "Rethinking the Inception architecture for computer vision" (2016); the widths
    are those of torchvision.
    """
    x = net.input("input", 3, 299, 299)
    x = _unit(net, "1a", x, 32, 3, stride=2)
    x = _unit(net, "2a", x, 32, 3)
    x = _unit(net, "2b", x, 64, 3, padding=1)
    x = net.max_pool("pool2", x, 3, 2)
    x = _unit(net, "3b", x, 80, 1)
    x = _unit(net, "4a", x, 192, 3)
    x = net.max_pool("pool4", x, 3, 2)
    for module, width in (("5b", 32), ("5c", 64), ("5d", 64)):
        x = _module_35(net, module, x, width)
    x = _reduce_35_to_17(net, "6a", x)
    for module, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        x = _module_17(net, module, x, width)
    x = _reduce_17_to_8(net, "7a", x)
    for module in ("7b", "7c"):
        x = _module_8(net, module, x)
    return net.linear("fc", net.global_avg_pool("gap", x), CLASSES)


def _unit(
    net: Layers,
    name: str,
    x: str,
    channels: int,
    kernel: Pair,
    stride: int = 1,
    padding: Pair = 0,
) -> str:
    """Append a convolution without bias, a batch normalisation and a rectifier."""
    x = net.conv(f"conv{name}", x, channels, kernel, stride, padding)
    return net.relu(f"relu{name}", net.batch_norm(f"bn{name}", x))


def _googlenet_module(net: Layers, m: str, x: str, widths: tuple[int, ...]) -> str:
    one, reduce3, three, reduce5, five, project = widths
    branch1 = _unit(net, f"{m}_b1", x, one, 1)
    branch2 = _unit(net, f"{m}_b2_reduce", x, reduce3, 1)
    branch2 = _unit(net, f"{m}_b2", branch2, three, 3, padding=1)
    branch3 = _unit(net, f"{m}_b3_reduce", x, reduce5, 1)
    branch3 = _unit(net, f"{m}_b3", branch3, five, 3, padding=1)
    branch4 = net.max_pool(f"pool{m}", x, 3, 1, padding=1)
    branch4 = _unit(net, f"{m}_b4", branch4, project, 1)
    return net.concat(f"concat{m}", branch1, branch2, branch3, branch4)


def _module_35(net: Layers, m: str, x: str, pool_width: int) -> str:
    """Append a module on the 35x35 grid (Fig. 5 of the paper)."""
    branch1 = _unit(net, f"{m}_1x1", x, 64, 1)
    branch5 = _unit(net, f"{m}_5x5a", x, 48, 1)
    branch5 = _unit(net, f"{m}_5x5b", branch5, 64, 5, padding=2)
    double = _unit(net, f"{m}_dbl_a", x, 64, 1)
    double = _unit(net, f"{m}_dbl_b", double, 96, 3, padding=1)
    double = _unit(net, f"{m}_dbl_c", double, 96, 3, padding=1)
    return net.concat(f"concat{m}", branch1, branch5, double, _pooled(net, m, x, pool_width))


def _reduce_35_to_17(net: Layers, m: str, x: str) -> str:
    branch3 = _unit(net, f"{m}_3x3", x, 384, 3, stride=2)
    double = _unit(net, f"{m}_dbl_a", x, 64, 1)
    double = _unit(net, f"{m}_dbl_b", double, 96, 3, padding=1)
    double = _unit(net, f"{m}_dbl_c", double, 96, 3, stride=2)
    return net.concat(f"concat{m}", branch3, double, net.max_pool(f"pool{m}", x, 3, 2))


def _module_17(net: Layers, m: str, x: str, width: int) -> str:
    """Append a module on the 17x17 grid, with factorised 7x7 convolutions (Fig. 6)."""
    branch1 = _unit(net, f"{m}_1x1", x, 192, 1)
    branch7 = _unit(net, f"{m}_7x7a", x, width, 1)
    branch7 = _unit(net, f"{m}_7x7b", branch7, width, (1, 7), padding=(0, 3))
    branch7 = _unit(net, f"{m}_7x7c", branch7, 192, (7, 1), padding=(3, 0))
    double = _unit(net, f"{m}_dbl_a", x, width, 1)
    double = _unit(net, f"{m}_dbl_b", double, width, (7, 1), padding=(3, 0))
    double = _unit(net, f"{m}_dbl_c", double, width, (1, 7), padding=(0, 3))
    double = _unit(net, f"{m}_dbl_d", double, width, (7, 1), padding=(3, 0))
    double = _unit(net, f"{m}_dbl_e", double, 192, (1, 7), padding=(0, 3))
    return net.concat(f"concat{m}", branch1, branch7, double, _pooled(net, m, x, 192))


def _reduce_17_to_8(net: Layers, m: str, x: str) -> str:
    branch3 = _unit(net, f"{m}_3x3a", x, 192, 1)
    branch3 = _unit(net, f"{m}_3x3b", branch3, 320, 3, stride=2)
    branch7 = _unit(net, f"{m}_7x7a", x, 192, 1)
    branch7 = _unit(net, f"{m}_7x7b", branch7, 192, (1, 7), padding=(0, 3))
    branch7 = _unit(net, f"{m}_7x7c", branch7, 192, (7, 1), padding=(3, 0))
    branch7 = _unit(net, f"{m}_7x7d", branch7, 192, 3, stride=2)
    return net.concat(f"concat{m}", branch3, branch7, net.max_pool(f"pool{m}", x, 3, 2))


def _module_8(net: Layers, m: str, x: str) -> str:
    """Append a module on the 8x8 grid, whose branches widen at their ends (Fig. 7)."""
    branch1 = _unit(net, f"{m}_1x1", x, 320, 1)
    branch3 = _unit(net, f"{m}_3x3a", x, 384, 1)
    branch3 = _fork(net, f"{m}_3x3", branch3)
    double = _unit(net, f"{m}_dbl_a", x, 448, 1)
    double = _unit(net, f"{m}_dbl_b", double, 384, 3, padding=1)
    double = _fork(net, f"{m}_dbl", double)
    return net.concat(f"concat{m}", branch1, branch3, double, _pooled(net, m, x, 192))


def _fork(net: Layers, name: str, x: str) -> str:
    """Append a 1x3 and a 3x1 convolution side by side."""
    row = _unit(net, f"{name}_row", x, 384, (1, 3), padding=(0, 1))
    column = _unit(net, f"{name}_column", x, 384, (3, 1), padding=(1, 0))
    return net.concat(f"concat{name}", row, column)


def _pooled(net: Layers, m: str, x: str, channels: int) -> str:
    """Append the pooled branch of a module."""
    return _unit(net, f"{m}_pool", net.avg_pool(f"pool{m}", x, 3, padding=1), channels, 1)
