"""Reading images of which a few may be broken."""
from typing import Any, Optional, Set

from mmengine.logging import MMLogger

from mmcausal.hosts import require_host
from mmcausal.registry import TRANSFORMS

require_host('mmcv')

from mmcv.transforms import LoadImageFromFile  # noqa: E402


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """Same as MMCV's ``LoadImageFromFile``, except that unreadable images are named, counted and may be passed over.

    It is for training, where a data set draws another image in place of one that is passed over. A test stops all the
    same: a figure over fewer images than the list names would not be what it says. A JPEG that was cut short passes for
    readable, its lost part grey, as OpenCV decodes it; ``tools/dataset_converters/check_images.py`` finds those.

    Args:
        max_unreadable: How many unreadable images each worker process passes over, again and again; one more stops it.
            0 stops at the first.
        **kwargs: Arguments of ``LoadImageFromFile``.

    Raises:
        ValueError: More unreadable images than that; it names the last one.
    """

    def __init__(self, max_unreadable: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_unreadable = max_unreadable
        self.unreadable: Set[str] = set()

    def transform(self, results: dict) -> Optional[dict]:
        try:
            return super().transform(results)
        except Exception as error:  # what decoders raise is not theirs to promise; it is passed on below
            path = results['img_path']
            is_known = path in self.unreadable
            self.unreadable.add(path)
            message = f'image {len(self.unreadable)} that cannot be read is {path}: {error!r}'
            if len(self.unreadable) > self.max_unreadable:
                raise ValueError(f'{message}; max_unreadable={self.max_unreadable}') from error
            if not is_known:
                MMLogger.get_current_instance().error(message)  # less is not heard of other ranks
            return None
