"""How Sphinx makes the documentation."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import meshd

project = "meshd"
author = "the meshd authors"
copyright = author
release = version = meshd.__version__

extensions = ["sphinx.ext.autodoc"]
exclude_patterns = ["_build", "changes"]
nitpicky = False

html_theme = "alabaster"
html_theme_options = {"description": "A pluggable service-mesh proxy", "fixed_sidebar": True}
html_show_sourcelink = False

autodoc_typehints = "description"
autodoc_member_order = "bysource"
