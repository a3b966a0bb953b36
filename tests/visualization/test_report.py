"""The page of a report: by value, and in a browser where there is one."""
import shutil

import numpy as np
import pytest

from mmcausal.evaluation import named_groups, shot_groups
from mmcausal.visualization import class_rows, paper_figure, report_page

COUNTS = np.array([500, 50, 5, 3])
NAMES = ['dog', 'cat </script>', 'axolotl', 'unseen']
LABELS = np.array([0, 0, 1, 1, 2])
PREDICTIONS = {'total effect': np.array([0, 0, 1, 0, 0]), 'TDE': np.array([0, 1, 1, 1, 2])}


def rows():
    return class_rows(NAMES, COUNTS, shot_groups(COUNTS), LABELS, PREDICTIONS)


def page():
    accuracies = {'total effect': dict(many=100., few=0.), 'TDE <b>': dict(many=50., few=100.)}
    figures = dict(feature_norms=paper_figure()[0], confusion=paper_figure(columns=2)[0])
    return report_page('a & b', 'Five images.', 'config.py', 'model = dict()', accuracies, figures, rows())


def test_rows_by_hand():
    assert rows() == [['dog', 'many', 500, 2, 100, 50, -50], ['cat </script>', 'medium', 50, 2, 50, 100, 50],
                      ['axolotl', 'few', 5, 1, 0, 100, 100], ['unseen', 'few', 3, 0, None, None, None]]


def test_groups_of_the_user():
    groups = named_groups({'<pets>': [0], 'farm': [1]}, range(4))
    named = class_rows(NAMES, COUNTS, groups, LABELS, PREDICTIONS)
    assert [row[1] for row in named] == ['<pets>', 'farm', '-', '-']
    text = report_page('a', 'b', 'c.py', '', {'total effect': {'<pets>': 50.}}, {}, named)
    assert '<option>&lt;pets&gt;</option><option>farm</option><option>-</option>' in text and '<pets>' not in text


def test_the_page_needs_nothing_else():
    text = page()
    assert 'http' not in text.replace('http-equiv', '') and text.count('src="data:image/png;base64,') == 2
    assert '<title>a &amp; b</title>' in text and 'TDE &lt;b&gt;' in text
    assert text.count('</script>') == 1  # not the one in a class's name


@pytest.fixture(scope='module')
def browser():
    chromium, driver = shutil.which('chromium'), shutil.which('chromedriver')
    if not (chromium and driver):
        pytest.skip('a browser: no chromium and chromedriver on the path')
    from selenium import webdriver
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ('--headless=new', '--no-sandbox', '--window-size=1100,1400'):
        options.add_argument(argument)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield browser
    browser.quit()


def test_the_table_sorts_and_filters(browser, tmp_path):
    (tmp_path / 'report.html').write_text(page(), encoding='utf-8')
    browser.get((tmp_path / 'report.html').as_uri())

    def names():
        return [cell.text for cell in browser.find_elements('css selector', '#classes tbody td:first-child')]

    heads = {cell.text.split(' ▲')[0]: cell for cell in browser.find_elements('css selector', '#classes th')}
    assert names() == NAMES  # most frequent first
    heads['class'].click()
    assert names() == sorted(NAMES)
    heads['gain'].click()
    assert names() == ['axolotl', 'cat </script>', 'dog', 'unseen']
    heads['gain'].click()
    assert names() == ['dog', 'cat </script>', 'axolotl', 'unseen']
    assert heads['gain'].get_attribute('aria-sort') == 'ascending'
    browser.find_element('id', 'name').send_keys('OLO')
    assert names() == ['axolotl']
    assert browser.find_element('id', 'shown').text == '1 of 4 classes'
    browser.find_element('id', 'name').clear()
    browser.find_element('css selector', '#shot option:nth-child(4)').click()
    assert sorted(names()) == ['axolotl', 'unseen']
    assert [entry for entry in browser.get_log('browser') if entry['level'] == 'SEVERE'] == []
