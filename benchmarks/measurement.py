"""What benchmarks have in common: their arguments, and the file with their results."""
import argparse
import json
from pathlib import Path

import torch

from mmcausal.analysis import provenance
from mmcausal.commands import add_overwrite_argument, check_outputs, integer_argument
from mmcausal.files import write_text


def measurement_parser(description: str, rounds: int) -> argparse.ArgumentParser:
    """Return a parser with the arguments of all measurements; ``rounds`` is the default number of them."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=integer_argument(1), default=rounds)
    parser.add_argument('--threads', type=integer_argument(1), default=torch.get_num_threads())
    parser.add_argument('--out', type=Path, help='JSON file for the results')
    add_overwrite_argument(parser)
    return parser


def measurement_arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return the arguments, after a check of the output, and let PyTorch have so many threads."""
    args = parser.parse_args()
    check_outputs(parser, args, args.out)
    torch.set_num_threads(args.threads)
    return args


def write_measurement(args: argparse.Namespace, **results: object) -> None:
    """Write results with their provenance, rounds and threads, if a file is wanted."""
    if args.out:
        content = dict(provenance(), threads=args.threads, rounds=args.rounds, **results)
        write_text(args.out, json.dumps(content, indent=1) + '\n')
