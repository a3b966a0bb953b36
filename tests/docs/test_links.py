"""Links, anchors, tests, tools and configs that README and docs mention exist."""
import re

import pytest
from helpers.commands import ROOT

PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').glob('*.md'))]
LINK = re.compile(r'(?<!!)\[([^\]]*)\]\(([^)\s]+)\)')


def prose(page):
    """Return the text of a page without its code blocks."""
    return re.sub(r'```.*?```', '', page.read_text(), flags=re.DOTALL)


def anchors(page):
    """Return the anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r'^#+ (.*)$', prose(page), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).strip().replace(' ', '-') for heading in headings}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = [target for _, target in LINK.findall(prose(page)) if '://' not in target]
    for target in links:
        path, _, anchor = target.partition('#')
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f'{page.name}: {target}'
        if anchor:
            assert anchor in anchors(file), f'{page.name}: {target}'
    assert (ROOT / 'docs' / 'quickstart.png').exists()


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_tests_are_in_the_files_that_are_linked(page):
    for text, target in LINK.findall(prose(page)):
        name = text.strip('`')
        if name.startswith('test_') and target.endswith('.py') and not name.endswith('.py'):
            assert f'def {name}(' in (page.parent / target).resolve().read_text(), f'{page.name}: {name}'


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_commands_name_files_that_exist(page):
    blocks = '\n'.join(re.findall(r'```(?:bash|python)\n(.*?)```', page.read_text(), re.DOTALL))
    for path in re.findall(r'\b((?:tools|configs|benchmarks)/[\w./-]+\.(?:py|sh))\b', blocks):
        assert (ROOT / path).exists(), f'{page.name}: {path}'


def test_every_page_is_in_the_index():
    index = (ROOT / 'docs' / 'index.md').read_text()
    assert all(page.stem in index for page in PAGES if page.parent.name == 'docs' and page.stem != 'index')
    assert len((ROOT / 'README.md').read_text().splitlines()) <= 120
