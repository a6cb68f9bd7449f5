"""Arguments of commands for which op times vary."""

from __future__ import annotations

import argparse
import math

from talos_opt.cli import arguments

#: Standard deviation of an op's time, as a share of it, that is taken where none is given.
NOISE = 0.2


def deviation(text: str) -> float:
    """Read a share of at least 0: 0.2, or 20%."""
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to 100, such as 0.2")
    return value


def add_noise(parser: argparse.ArgumentParser, *, ask: bool = True) -> None:
    """Add how much times vary.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    ask : bool
        Whether the default counts as asked for; else what is not given is None.
    """
    parser.add_argument(
        "--noise",
        type=deviation,
        default=NOISE if ask else None,
        metavar="SHARE",
        help="standard deviation of an op's time as a share of it: each time is multiplied by a "
        f"log-normal factor with mean 1 (default: {NOISE:g})",
    )
    parser.add_argument(
        "--transfer-noise",
        type=deviation,
        default=0.0 if ask else None,
        metavar="SHARE",
        help="the same for the transfers; those of one op's outputs share a factor (default: 0)",
    )


def risk(text: str) -> str:
    """Read what is minimised of a distribution: mean, or cvar:0.9."""
    from talos_opt.core.errors import ConfigError
    from talos_opt.core.robustness import Risk

    try:
        return str(Risk.of(text))
    except ConfigError as error:
        raise argparse.ArgumentTypeError(error.message) from None


def add_robust(parser: argparse.ArgumentParser) -> None:
    """Add what a robust plan is asked for; any of it asks for one."""
    parser.add_argument(
        "--samples",
        type=arguments.count,
        metavar="N",
        help="look for the plan that is best over this many random draws of all times, and "
        "compare it with the nominal one on fresh draws (default with --noise or --risk: 20)",
    )
    add_noise(parser, ask=False)
    parser.add_argument(
        "--risk",
        type=risk,
        metavar="RISK",
        help="with --samples: what is minimised, mean (default), or cvar:0.9, the mean of the "
        "worst tenth",
    )
