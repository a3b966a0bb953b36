"""Sphinx: `pip install '.[all,docs]' && sphinx-build -W docs build/docs`, then open build/docs/index.html."""
from mmcausal import __version__

project = 'mmcausal'
author = 'the mmcausal contributors'
version = release = __version__
extensions = ['sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'myst_parser']
exclude_patterns = ['results']
myst_enable_extensions = ['dollarmath']
myst_fence_as_directive = ['math']
myst_heading_anchors = 3
suppress_warnings = ['myst.xref_missing']  # links to files of the repository beside these pages
autodoc_member_order = 'bysource'
autodoc_typehints = 'none'  # the docstrings give shapes, and the signatures have the types
html_theme = 'furo'
