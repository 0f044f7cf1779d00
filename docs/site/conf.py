"""Sphinx's settings for the site. `make docs` builds it; docs/make_site.py says how."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # pages.py and formulas.py are beside this file

import ftcourse

ROOT = Path(__file__).resolve().parents[2]
project = "ftcourse"
author = "the ftcourse authors"
release = version = ftcourse.__version__
copyright = "the ftcourse authors. Apache-2.0"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "formulas",
    "pages",
]
exclude_patterns = ["README.md"]
default_role = "py:obj"  # docstrings say `name`: a link where there is such a name, code elsewhere
nitpicky = False

# Notebooks: what their cells printed is stored in them, so nothing is run.
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}  # widgets are shown by their still forms; nothing is loaded for them
myst_enable_extensions = ["colon_fence", "dollarmath", "substitution"]
myst_substitutions = {"lessons": len(list((ROOT / "lessons").glob("*.ipynb")))}
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100
python_display_short_literal_types = True
add_module_names = False
toc_object_entries_show_parents = "hide"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
viewcode_line_numbers = True

html_theme = "sphinx_book_theme"
html_title = "ftcourse"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_copy_source = True
html_show_sourcelink = False
html_show_sphinx = False
html_math_renderer = "formulas"
html_theme_options = {
    "home_page_in_toc": True,
    "show_toc_level": 2,
    "show_navbar_depth": 1,
    "use_fullscreen_button": False,
    "use_download_button": True,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
