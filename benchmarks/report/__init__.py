"""What people look at: results on a terminal, as a page with plots that needs no other file, and as Markdown.

Conclusions come from `benchmarks.scenarios.summary`; nothing is measured here.
"""
