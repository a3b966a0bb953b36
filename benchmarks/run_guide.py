"""Run the commands of a guide, one after another as pasted, and record how long each takes and what it prints.

Takes the ```bash blocks of some sections of a Markdown file, in order, and runs each in a shell of its own in the
current folder. Stops at the first block that fails.
"""
import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List

from mmcausal.analysis import provenance
from mmcausal.commands import add_overwrite_argument, check_outputs
from mmcausal.files import write_text

LAST_LINES = 40


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('guide', type=Path)
    parser.add_argument('--sections', nargs='+', required=True, help='titles of sections of level 2')
    parser.add_argument('--out', type=Path, required=True, help='JSON file for the results')
    add_overwrite_argument(parser)
    args = parser.parse_args()
    check_outputs(parser, args, args.out)
    return args


def blocks_by_section(text: str) -> Dict[str, List[str]]:
    """Return the shell blocks of each section of level 2, by its title."""
    sections = re.split(r'^## (.+)\n', text, flags=re.MULTILINE)[1:]
    return {title: re.findall(r'^```bash\n(.*?)^```', body, flags=re.MULTILINE | re.DOTALL)
            for title, body in zip(sections[::2], sections[1::2])}


def run(block: str) -> dict:
    """Run a block, show its output, and return it with its time in seconds."""
    print(f'$ {block.strip()}', flush=True)
    start = time.time()
    done = subprocess.run(['bash', '-e', '-c', block], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout[-2000:], flush=True)
    return dict(block=block, seconds=round(time.time() - start, 1), status=done.returncode,
                last_lines=done.stdout.splitlines()[-LAST_LINES:])


def main() -> None:
    args = parse_args()
    blocks = blocks_by_section(args.guide.read_text(encoding='utf-8'))
    missing = sorted(set(args.sections) - set(blocks))
    if missing:
        sys.exit(f'sections must be among {list(blocks)}, but got {missing}')
    results: Dict[str, List[dict]] = {title: [] for title in args.sections}
    for title in args.sections:
        for block in blocks[title]:
            results[title].append(run(block))
            if results[title][-1]['status']:
                sys.exit(f'this block of {title!r} failed')
    seconds = {title: round(sum(result['seconds'] for result in done), 1) for title, done in results.items()}
    write_text(args.out, json.dumps(dict(provenance(), guide=str(args.guide), seconds=seconds, results=results),
                                    indent=1))
    print(f'Seconds: {seconds}')


if __name__ == '__main__':
    main()
