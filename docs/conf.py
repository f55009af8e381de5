"""How Sphinx builds the documentation: `make docs`."""

from __future__ import annotations

import gc
import re

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import pyxqueue

# Most of what a build makes lasts until its end: with its usual thresholds, the garbage collector took a quarter of the
# time.
gc.set_threshold(200_000, 20, 100)

project = "pyxqueue"
copyright = "pyxqueue contributors"  # noqa: A001 - the name is Sphinx's
version = release = pyxqueue.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["_build", "pictures"]
# The docstrings write code in single backticks.
default_role = "literal"
# A reference to a name of ours must lead somewhere. Others' names stay plain text: their inventories would have to be
# fetched, and a build must not depend on the network.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!pyxqueue).*"),
    ("py:.*", r"pyxqueue\.(?:client\.)?(\w+\.)+([PRT]|R_co|Class)"),  # type variables
    # Names inside of signatures that are nobody's to use.
    ("py:class", r"pyxqueue\.(?:client\.)?(admin|decorator|gathering|offload|producing|testing\.contract\.\w+)\.\w+"),
    ("py:class", r"pyxqueue\.(?:client\.)?(task\.CallOptions|stores\.OpenStores|result\.(Reader|Watch))"),
    ("py:class", r"pyxqueue\.(?:client\.)?(names\.Unique|clock\.FakeClock|testing\.faulty\.(Faulty|Inner))"),
    ("py:class", r"pyxqueue\.steps\.RunSteps"),
    ("py:class", r"pyxqueue\.serializers\.tagged\.TaggedSerializer"),
]

html_theme = "furo"
html_title = f"pyxqueue {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
# The default one underlines the names of modules, as if they were links.
pygments_dark_style = "github-dark"
# A `console` block is copied without its prompts and without what the commands print.
copybutton_prompt_text = "$ "

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
maximum_signature_line_length = 80


def hide_from_search(_app: Sphinx, env: BuildEnvironment) -> None:
    """Search finds what users need before what the makers decided: a search for "lost" means the guarantees."""
    for docname in env.found_docs:
        if docname.startswith("design/"):
            env.metadata[docname]["nosearch"] = "yes"


def without_unknown(
    _app: Sphinx, _what: str, _name: str, _object: object, _options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """`**unknown` is there to refuse what is misspelt; it is not a parameter to use."""
    return signature and re.sub(r", \*\*unknown(: [\w.~]+)?", "", signature), returns


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-signature", without_unknown)
    app.connect("env-updated", hide_from_search)
