"""The page of a report: by value, and in a browser where there is one."""
import base64
import hashlib
import json
import re
import shutil
from collections import defaultdict
from html.parser import HTMLParser

import numpy as np
import pytest
from helpers import names as nasty

from mmcausal.evaluation import named_groups, shot_groups
from mmcausal.visualization import class_rows, paper_figure, report_page
from mmcausal.visualization.report import group_sizes

COUNTS = np.array([500, 50, 5, 3])
NAMES = ['dog', 'cat </script>', 'axolotl', 'unseen']
LABELS = np.array([0, 0, 1, 1, 2])
PREDICTIONS = {'total effect': np.array([0, 0, 1, 0, 0]), 'TDE': np.array([0, 1, 1, 1, 2])}


class Page(HTMLParser):
    """The tags of a page, and the texts within each kind."""

    def __init__(self):
        super().__init__()
        self.tags, self.texts, self.open = [], defaultdict(list), []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ('meta', 'br', 'img', 'input'):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.texts[self.open[-1]].append(data)


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


@pytest.mark.parametrize('name', nasty.NAMES)
def test_every_name_is_text(name):
    """In the title, the tables, the choice of groups and the config; no name ends a tag, an attribute or the script."""
    counts = np.array([500, 5])
    groups = {f'group {name}': counts > 0}
    table = class_rows([name, 'dog'], counts, groups, LABELS % 2, {f'model {name}': LABELS % 2})
    text = report_page(f'title {name}', f'summary {name}', f'{name}.py', f'model = {name!r}',
                       {f'model {name}': {f'group {name}': 50.}}, {}, table)
    page = Page()
    page.feed(text)
    assert page.tags.count('script') == 1 and page.tags.count('option') == 2 and page.tags.count('details') == 1
    assert page.texts['title'] == [f'title {name}'.replace('\r', '\n')] and f'group {name}' in page.texts['option']
    assert page.texts['pre'] == [f'model = {name!r}']
    script, = page.texts['script']
    assert json.loads(re.search('const rows = (.*);', script).group(1))[0][:2] == [name, f'group {name}']


def test_bytes_that_are_no_text_do_not_end_the_report():
    text = report_page('x\udce9', '', 'c.py', '', {'total': dict(many=1.)}, {}, [['a', 'many', 1, 1, 1.]])
    assert '<title>x\ufffd</title>' in text and text.encode('utf-8')


def test_sizes_of_groups_are_those_tested():
    assert group_sizes(['many', 'few', 'overall'], rows()) == {
        'many': '1 classes<br>2 images', 'few': '1 classes<br>1 images', 'overall': '3 classes<br>5 images'}


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


@pytest.mark.parametrize('width', [390, 1280])
def test_nothing_is_wider_than_the_window(browser, tmp_path, width):
    """Tables and wide pictures scroll within their frames; names are shown as they are, one below the other."""
    counts = np.arange(len(nasty.NAMES), 0, -1) * 9
    table = class_rows(nasty.NAMES, counts, shot_groups(counts), LABELS, PREDICTIONS)
    figures = dict(feature_norms=paper_figure()[0], grad_cam=paper_figure(columns=4, panel=(1.75, 2))[0])
    text = report_page('deconfound-' * 9, 'x' * 90, 'c.py', 'y' * 300, {'total effect': dict(many=1., few=2.)}, figures,
                       table)
    (tmp_path / 'report.html').write_text(text, encoding='utf-8')
    browser.execute_cdp_cmd('Emulation.setDeviceMetricsOverride',
                            dict(width=width, height=800, deviceScaleFactor=1, mobile=width < 600))
    browser.get((tmp_path / 'report.html').as_uri())
    assert browser.execute_script('return document.documentElement.scrollWidth') <= width
    assert browser.execute_script("return document.querySelector('figure img').width") > min(width, 400) - 60
    cells = browser.execute_script("return [...document.querySelectorAll('#classes td:first-child')].map("
                                   "cell => cell.textContent)")
    assert cells == list(nasty.NAMES)
    browser.execute_cdp_cmd('Emulation.clearDeviceMetricsOverride', {})


def test_the_policy_allows_this_script_and_style_alone():
    text = page()
    policy, = re.findall('<meta http-equiv="Content-Security-Policy" content="(.*)">', text)
    hashes = dict(re.findall(r"(\w+)-src 'sha256-(.*?)'", policy))
    for kind in ('script', 'style'):
        content, = re.findall(f'<{kind}>(.*?)</{kind}>', text, re.DOTALL)
        assert hashes[kind] == base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:;") and 'unsafe' not in policy
    assert text.index('Content-Security-Policy') < text.index('<title>')  # before anything that a name could reach


@pytest.mark.parametrize('injected', [
    '<script>document.body.dataset.ran = 1</script>',
    '<img src="data:," onerror="document.body.dataset.ran = 1">',
    '<iframe srcdoc="<script>parent.document.body.dataset.ran = 1</script>"></iframe>',
    '<style>h1 { color: rgb(1, 2, 3); }</style>'])
def test_nothing_else_runs_in_the_page(browser, tmp_path, injected):
    """Even if a name were not escaped."""
    (tmp_path / 'report.html').write_text(page().replace('<h1', f'{injected}<h1'), encoding='utf-8')
    browser.get((tmp_path / 'report.html').as_uri())
    assert browser.execute_script('return document.body.dataset.ran') is None
    assert browser.execute_script("return getComputedStyle(document.querySelector('h1')).color") == 'rgb(34, 34, 34)'
    assert any('Content Security Policy' in entry['message'] for entry in browser.get_log('browser'))
    assert browser.find_element('css selector', '#classes tbody td').text == NAMES[0]  # the page's own script ran
    plain = re.sub('<meta http-equiv.*?>', '', page().replace('<h1', f'{injected}<h1'))
    (tmp_path / 'report.html').write_text(plain, encoding='utf-8')
    browser.get((tmp_path / 'report.html').as_uri())
    color = browser.execute_script("return getComputedStyle(document.querySelector('h1')).color")
    assert browser.execute_script('return document.body.dataset.ran') == '1' or color == 'rgb(1, 2, 3)'
