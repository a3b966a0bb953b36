"""Stored features, and the hashes that tell them apart."""
import os

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmcausal.analysis import FeatureStore, hash_config, hash_dataset, image_keys

IDENTITY = dict(checkpoint='abc', dataset='def')


def test_a_stopped_pass_goes_on_where_it_was(tmp_path):
    features, labels = torch.randn(7, 4), torch.arange(7)
    store = FeatureStore(tmp_path / 'store', IDENTITY, 7, 4)
    store.append(features[:3], labels[:3])
    del store

    store = FeatureStore(tmp_path / 'store', IDENTITY, 7, 4)
    assert store.num_done == 3 and not store.is_complete
    store.append(features[3:], labels[3:])
    assert store.is_complete
    again = FeatureStore(tmp_path / 'store', IDENTITY, 7, 4)
    assert np.array_equal(again.features, features.numpy()) and np.array_equal(again.labels, labels.numpy())
    with pytest.raises(ValueError, match='lacks 0 images, but got 1'):
        again.append(features[:1], labels[:1])


def test_half_precision_takes_half_the_space(tmp_path):
    store = FeatureStore(tmp_path, IDENTITY, 2, 4, dtype='float16')
    store.append(torch.full((2, 4), 0.1), torch.zeros(2))
    assert store.features.nbytes == 16 and store.features[0, 0] == np.float16(0.1)
    with pytest.raises(ValueError, match="dtype must be .* got 'int8'"):
        FeatureStore(tmp_path / 'other', IDENTITY, 2, 4, dtype='int8')


@pytest.mark.parametrize('key, value', [('checkpoint', 'xyz'), ('dataset', 'xyz'), ('channels', 5),
                                        ('dtype', 'float16')])
def test_features_of_something_else_are_refused(tmp_path, key, value):
    FeatureStore(tmp_path, IDENTITY, 2, 4).append(torch.zeros(2, 4), torch.zeros(2))
    arguments = dict(identity=IDENTITY, num_images=2, channels=4, dtype='float32')
    if key in IDENTITY:
        arguments['identity'] = dict(IDENTITY, **{key: value})
    else:
        arguments[key] = value
    with pytest.raises(ValueError, match=f'features of another {key}: .*expected {value!r}'):
        FeatureStore(tmp_path, **arguments)
    assert FeatureStore(tmp_path, IDENTITY, 2, 4).is_complete  # nothing is lost


def test_damage_is_named(tmp_path):
    def filled(name):
        store = FeatureStore(tmp_path / name, IDENTITY, 200, 4)
        store.append(torch.ones(200, 4), torch.zeros(200))
        return tmp_path / name

    def cut(path):
        with open(path, 'r+b') as file:
            file.truncate(path.stat().st_size // 2)

    def empty(path):
        path.write_text('')

    for name, spoil in (('features.npy', cut), ('labels.npy', cut), ('features.npy', os.remove),
                        ('labels.npy', os.remove), ('num_done', empty), ('identity.json', cut)):
        folder = filled(f'{name}_{spoil.__name__}')
        spoil(folder / name)
        size = (folder / name).stat().st_size if (folder / name).exists() else None
        with pytest.raises(ValueError, match=f'{name} is damaged: .*Remove {folder}'):
            FeatureStore(folder, IDENTITY, 200, 4)
        assert size is None or (folder / name).stat().st_size == size
    (tmp_path / 'file').write_text('')
    with pytest.raises(ValueError, match='must be a folder for features'):
        FeatureStore(tmp_path / 'file', IDENTITY, 2, 4)


def test_features_that_do_not_fit_are_refused(tmp_path):
    store = FeatureStore(tmp_path, IDENTITY, 3, 4, dtype='float16')
    store.append(torch.ones(1, 4), torch.zeros(1))
    for features, labels, words in (
        (torch.tensor([[1., 2., 3., 4.], [1., 2., 3., 1e5]]), torch.zeros(2), 'image 2 are not finite in float16'),
        (torch.full((1, 4), float('nan')), torch.zeros(1), 'image 1 are not finite'),
        (torch.ones(1, 4), torch.zeros(2), r'shape \(2, 4\), but got \(1, 4\)'),
        (torch.ones(2, 1), torch.zeros(2), r'shape \(2, 4\), but got \(2, 1\)')):
        with pytest.raises(ValueError, match=words):
            store.append(features, labels)
    assert store.num_done == 1


class Images:

    def __init__(self, *infos):
        self.infos = infos

    def __len__(self):
        return len(self.infos)

    def get_data_info(self, index):
        return self.infos[index]


def test_hash_sees_images_labels_and_order():
    a, b = dict(img=np.zeros((2, 2)), gt_label=0), dict(img_path='x.jpg', gt_label=1)
    different = [Images(a, b), Images(b, a), Images(a), Images(dict(a, gt_label=1), b),
                 Images(dict(a, img=np.ones((2, 2))), b), Images(a, dict(b, img_path='y.jpg'))]
    assert len({hash_dataset(images) for images in different}) == len(different)
    assert hash_dataset(Images(a, b)) == hash_dataset(Images(dict(a), dict(b)))


def test_hash_sees_files_that_were_replaced_under_the_same_names(tmp_path):
    file = tmp_path / 'x.jpg'
    images = Images(dict(img_path=str(file), gt_label=0))

    def write(content, time):
        file.write_bytes(content)
        os.utime(file, ns=(time, time))
        return hash_dataset(images)

    first = write(b'old', 10**18)
    keys = image_keys(images)
    assert len({first, write(b'newer', 10**18), write(b'new', 10**18 + 1)}) == 3
    assert write(b'old', 10**18) == first
    assert image_keys(images) == keys  # the same file all along, where splits are compared


def test_a_config_is_hashed_by_its_content_but_for_what_is_ignored():
    config = dict(head=dict(type='H', alpha=1), stages=[dict(alpha=1, loss=dict(beta=2))])
    assert hash_config(config) == hash_config({key: Config(config)[key] for key in config})
    assert hash_config(config) != hash_config(dict(config, head=dict(type='H', alpha=2)))
    other = dict(stages=[dict(alpha=3, loss=dict(beta=2))], head=dict(type='H'))
    assert hash_config(config, ignore=['alpha']) == hash_config(other, ignore=['alpha'])
    assert hash_config(config, ignore=['alpha']) != hash_config(config, ignore=['alpha', 'beta'])


def test_settings_of_the_network_count_whatever_their_name():
    """An ``alpha`` of the head is a matter of inference, that of an activation changes the features."""
    def model(elu, tde):
        return dict(backbone=dict(act_cfg=dict(type='ELU', alpha=elu)), neck=dict(alpha=elu), head=dict(alpha=tde))

    hashes = {(elu, tde): hash_config(model(elu, tde), ignore=('alpha', )) for elu in (1., .1) for tde in (0., 1.5)}
    assert hashes[1., 0.] == hashes[1., 1.5] != hashes[.1, 0.] == hashes[.1, 1.5]


def test_boxes_of_a_proposal_file_count():
    """A detector without an RPN pools them."""
    class Images:
        def __init__(self, boxes, scores=None):
            self.proposals = InstanceData(bboxes=np.array(boxes, dtype=np.float32))
            if scores:
                self.proposals.scores = np.array(scores)

        def __len__(self):
            return 1

        def get_data_info(self, index):
            return dict(img_path='a.jpg', instances=[], proposals=self.proposals)

    found = [hash_dataset(Images(*each)) for each in (([[0, 0, 2, 2]], ), ([[0, 0, 2, 2]], ), ([[0, 0, 2, 3]], ),
                                                      ([[0, 0, 2, 2]], [.5]))]
    assert found[0] == found[1] and len(set(found)) == 3
