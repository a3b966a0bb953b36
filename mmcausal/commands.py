"""Arguments that commands share, and commands that messages name."""
import argparse
import shlex
from typing import Optional

from mmcausal.models.layers import Alpha, check_alpha


def alpha_argument(text: str) -> Alpha:
    """Parse ``'auto'`` or a number that is not negative.

    Raises:
        argparse.ArgumentTypeError: Another text.
    """
    try:
        return check_alpha(text if text == 'auto' else float(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be 'auto' or a number in [0, inf), but got {text}") from None


def sweep_command(config: Optional[str], checkpoint: Optional[str], classifier: str = 'head.fc',
                  tool: str = 'sweep_alpha') -> str:
    """Return the command that chooses alpha on held-out images and writes it; unknown files are named in capitals.

    Args:
        config, checkpoint: Paths, or ``None``.
        classifier: Name of the linear layer of a classifier.
        tool: ``'sweep_detector_alpha'`` for a detector.
    """
    words = ['python', f'tools/analysis/{tool}.py', shlex.quote(config or 'CONFIG'),
             shlex.quote(checkpoint or 'CHECKPOINT'), '--write-config', 'OUT.py']
    return ' '.join(words if classifier == 'head.fc' else [*words, '--classifier', shlex.quote(classifier)])


def total_effect_alone(config: str, checkpoint: str, classifier: str = 'head.fc') -> str:
    """Return the message of a tool that shows no TDE because alpha is 0, with the command that chooses another."""
    return ('Alpha is 0, so only the total effect is shown. Choose an alpha on held-out images: '
            f'{sweep_command(config, checkpoint, classifier)}. Or give one with --alpha')
