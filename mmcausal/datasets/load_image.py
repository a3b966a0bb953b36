"""Image loading that tolerates a few unreadable files."""
import logging
from typing import Optional, Set, Union

from mmengine.logging import MMLogger

from mmcausal.checks import check_integer
from mmcausal.encoding import log_text
from mmcausal.hosts import require_host
from mmcausal.registry import TRANSFORMS

require_host('mmcv')

from mmcv.transforms import LoadImageFromFile  # noqa: E402


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """Same as MMCV's ``LoadImageFromFile``, except that a few unreadable images may be skipped; each is logged.

    In training, the dataset draws another image in place of a skipped one. A test stops at the first, because a metric
    over a part of the images would be misleading. A truncated JPEG counts as readable, because OpenCV decodes the
    missing part as grey; ``tools/dataset_converters/check_images.py`` finds those.

    Args:
        max_unreadable: Number of unreadable images each worker process may skip, repeatedly, before it raises. 0 raises
            at the first.
        **kwargs: Arguments of ``LoadImageFromFile``.

    Raises:
        ValueError: At construction, a negative number; later, more unreadable images: it names the last one.
    """

    def __init__(self, max_unreadable: int = 0, **kwargs: Union[str, bool, dict, None]) -> None:
        super().__init__(**kwargs)
        self.max_unreadable = check_integer('max_unreadable', max_unreadable, 0)
        self.unreadable: Set[str] = set()

    def transform(self, results: dict) -> Optional[dict]:
        try:
            return super().transform(results)
        except Exception as error:  # decoders can raise anything
            path = results['img_path']
            is_known = path in self.unreadable
            self.unreadable.add(path)
            message = f'unreadable image number {len(self.unreadable)}, {path}: {error!r}'
            if len(self.unreadable) > self.max_unreadable:
                raise ValueError(f'{message}. max_unreadable={self.max_unreadable} allows no more') from error
            if not is_known:
                # Other ranks log nothing below an error
                log_text(MMLogger.get_current_instance(), message, logging.ERROR)
            return None
