"""The site: Markdown pages, and the API from the docstrings; `make docs` builds it."""

import re
from typing import Any

from docutils import nodes
from sphinx.util import logging

import dbnfast

project = "dbnfast"
author = "The dbnfast developers"
project_copyright = "The dbnfast developers"
version = release = dbnfast.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "numpydoc",
    "sphinx_copybutton",
]
nitpicky = True
default_role = "py:obj"
add_module_names = True  # an entry shows where to import from
toc_object_entries_show_parents = "hide"
maximum_signature_line_length = 80

myst_enable_extensions = ["attrs_inline"]
myst_heading_anchors = 3

# types stand in the docstrings, in words
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
# single backquotes in docstrings are names of the API, but for these parameters and attributes
PARAMETERS = """
    after_bytes asyncio.BufferedProtocol buffer data directory force fsync_interval_s keep_log
    latest max_buffer metadata mode n n_records offset on_slow on_truncated quiet_after_s records
    stream writable
"""
# where a name that a docstring mentions may be, beside its own module
MODULES = ("dbnfast", "dbnfast.live", "dbnfast.live.hours", "dbnfast.text", "dbnfast.files")
LOG = logging.getLogger(__name__)
nitpick_ignore = [("py:obj", name) for name in PARAMETERS.split()]

copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

html_theme = "furo"
pygments_dark_style = "a11y-dark"  # the pair of the light one; the theme's own underlines names
html_title = f"dbnfast {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_domain_indices = False  # of modules: there is one
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {"top_of_page_buttons": []}


def _links(app: Any, name: str, source: list[str]) -> None:
    # the pages link to files beside docs/ as they stand in the repository; here these are pages too
    up = "../" * (name.count("/") + 1)
    for file, page in (("CONTRIBUTING.md", "contributing.md"), ("CHANGELOG.md", "changelog.md")):
        source[0] = source[0].replace(f"]({up}{file})", f"](/{page})")


def _defaults(app: Any, what: str, name: str, obj: Any, options: Any, said: Any, of: Any) -> Any:
    return said and (re.sub(r"<built-in function (\w+)>", r"\1", said), of)


def _names(app: Any, env: Any, node: Any, content: Any) -> Any:
    # a docstring of a module below says `scan` and means dbnfast.scan
    if node.get("reftype") != "obj" or node.get("reftarget", "").startswith("dbnfast."):
        return None
    domain, page = env.get_domain("py"), node.get("refdoc", env.docname)
    for module in MODULES:
        target = f"{module}.{node['reftarget']}"
        found = domain.resolve_xref(env, page, app.builder, "obj", target, node, content)
        if found is not None:
            return found
    return None


def _entries(app: Any, tree: Any, page: str) -> None:
    # a link to a page of the API whose text is a name leads to the entry of that name there
    if app.builder.format != "html":
        return
    entries = app.env.get_domain("py").objects.items()
    pages = {entry.docname for _, entry in entries}
    uris = {app.builder.get_relative_uri(page, other): other for other in pages}
    for link in tree.findall(nodes.reference):
        name, to = link.astext().removesuffix("()"), uris.get(link.get("refuri", ""))
        if to is None or not all(type(of) is nodes.literal for of in link.children[0].children):
            continue
        found = [
            full
            for full, entry in entries
            if entry.docname == to and f".{full}".endswith(f".{name}") and entry.objtype != "module"
        ]
        if found:
            link["refuri"] += f"#{min(found, key=len)}"
        else:
            LOG.warning("no entry of %s on %s", name, to, location=link, type="ref")


def setup(app: Any) -> None:
    """Have links rewritten, defaults shown as text, and names found from where they are short."""
    app.connect("source-read", _links)
    app.connect("autodoc-process-signature", _defaults)
    app.connect("missing-reference", _names)
    app.connect("doctree-resolved", _entries)
