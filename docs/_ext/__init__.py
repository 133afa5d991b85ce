"""The Sphinx extension of these pages: what the code says of itself, as Markdown."""
