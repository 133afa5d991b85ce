"""TeX -> MathML, which browsers draw themselves: no script, no font, no network."""

from __future__ import annotations

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator


def set_up_mathematics(app: Sphinx) -> None:
    """Make it the renderer of `html_math_renderer = "mathml"`."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))


def _visit_inline(writer: HTML5Translator, node: nodes.math) -> None:
    writer.body.append(str(tex2mathml(node.astext(), as_block=False)))
    raise nodes.SkipNode


def _visit_block(writer: HTML5Translator, node: nodes.math_block) -> None:
    drawn = str(tex2mathml(node.astext(), as_block=True))
    writer.body.append(f'<div class="math-block">{drawn}</div>')
    raise nodes.SkipNode
