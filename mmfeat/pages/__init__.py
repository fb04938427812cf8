"""HTML pages in one file that needs no network: templates, the style, and texts for readers."""

from mmfeat.pages.page import REPORT, render_page, write_page
from mmfeat.pages.text import (
    clean_text,
    display_name,
    format_bytes,
    format_compact,
    format_number,
    format_setting,
)

__all__ = [
    "REPORT",
    "clean_text",
    "display_name",
    "format_bytes",
    "format_compact",
    "format_number",
    "format_setting",
    "render_page",
    "write_page",
]
