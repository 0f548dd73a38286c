"""How the page looks: system fonts (nothing is fetched from outside), stone greys and one green."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

CSS_FILE = Path(__file__).with_name("page.css")

SANS = (
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "Roboto",
    "Helvetica Neue",
    "Noto Sans",
    "Liberation Sans",
    "sans-serif",
)
MONO = ("ui-monospace", "SF Mono", "Menlo", "Consolas", "Liberation Mono", "monospace")


def theme() -> gr.themes.Base:
    """The Gradio theme; page.css draws what Gradio has no component for, from the same variables."""
    return gr.themes.Base(
        primary_hue="emerald",
        neutral_hue="stone",
        radius_size="md",
        font=SANS,
        font_mono=MONO,
    ).set(
        body_background_fill="#faf9f7",
        body_background_fill_dark="#161514",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#1f1e1c",
        background_fill_secondary="#f3f1ee",
        background_fill_secondary_dark="#272523",
        block_background_fill="#ffffff",
        block_background_fill_dark="#1f1e1c",
        block_border_color="#e3dfd9",
        block_border_color_dark="#363330",
        border_color_primary="#e3dfd9",
        border_color_primary_dark="#363330",
        block_shadow="none",
        input_background_fill="#ffffff",
        input_background_fill_dark="#272523",
        button_primary_background_fill="#1c6b50",
        button_primary_background_fill_dark="#2f8f6c",
        button_primary_background_fill_hover="#155740",
        button_primary_background_fill_hover_dark="#37a37c",
        button_primary_text_color="#ffffff",
        button_secondary_background_fill="#ffffff",
        button_secondary_background_fill_dark="#272523",
        button_secondary_background_fill_hover="#f3f1ee",
        button_secondary_background_fill_hover_dark="#322f2c",
        button_secondary_border_color="#d6d1ca",
        button_secondary_border_color_dark="#45413d",
        button_border_width="1px",
    )
