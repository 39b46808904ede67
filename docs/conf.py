"""How the site is built: `python -m sphinx -W docs docs/_build`."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from lambdamart_kit.runtime.version import __version__

project = "lambdamart_kit"
author = "the lambdamart_kit developers"
copyright = "2026, the lambdamart_kit developers"
release = __version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 3
# README and CHANGELOG are on the repository's page; links to files outside of docs/ stay as they are written.
suppress_warnings = ["myst.xref_missing", "config.cache"]

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's sections say the types in the field's words
numpydoc_class_members_toctree = False
numpydoc_show_inherited_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = "lambdamart_kit"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "navbar_align": "left",
    "show_toc_level": 2,
    "show_prev_next": False,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "pygments_light_style": "default",
    "pygments_dark_style": "github-dark",
}
html_sidebars = {"index": []}
html_context = {"default_mode": "auto"}
# Formulas are drawn by a copy of MathJax beside the pages where there is one, so that they open offline.
if (Path(__file__).parent / "_static" / "mathjax" / "tex-svg.js").exists():
    mathjax_path = "mathjax/tex-svg.js"

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"__init__\.py",
    # DOCS_FAST=1 shows the examples without running them.
    "plot_gallery": os.environ.get("DOCS_FAST") != "1",
    "abort_on_example_error": True,
    "write_computation_times": False,
    "show_memory": False,
    "min_reported_time": 1_000_000,
    "remove_config_comments": True,
    "doc_module": ("lambdamart_kit",),
    "backreferences_dir": "reference/used_in",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
}
warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")


sys.path.insert(0, str(Path(__file__).parent))
from reference_pages import write_reference

write_reference(Path(__file__).parent / "reference")
