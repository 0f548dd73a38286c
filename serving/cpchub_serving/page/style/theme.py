"""How the page looks: system fonts (nothing is fetched from outside), stone greys and one green."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

PAGE = Path(__file__).parents[1]

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


PINE = gr.themes.Color(
    name="pine",
    c50="#eef6f2",
    c100="#d9ebe3",
    c200="#b5d8c8",
    c300="#86bfa6",
    c400="#54a483",
    c500="#278163",
    c600="#1c6b50",
    c700="#155740",
    c800="#114534",
    c900="#0d382a",
    c950="#07221a",
)


def style_sheets() -> list[Path]:
    """The style sheets: the one that all tabs share, then those of the tabs."""
    base = Path(__file__).with_name("base.css")
    return [base, *sorted(sheet for sheet in PAGE.glob("*/*.css") if sheet != base)]


def theme() -> gr.themes.Base:
    """The Gradio theme; the style sheets draw what Gradio has no component for, from the same variables."""
    return gr.themes.Base(primary_hue=PINE, neutral_hue="stone", radius_size="md", font=SANS, font_mono=MONO).set(
        body_text_color_subdued="#6d6761",
        body_text_color_subdued_dark="#a9a29a",
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
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_dark="*primary_500",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_hover_dark="*primary_400",
        button_primary_border_color="*primary_600",
        button_primary_border_color_dark="*primary_500",
        button_primary_text_color="#ffffff",
        button_secondary_background_fill="#ffffff",
        button_secondary_background_fill_dark="#272523",
        button_secondary_background_fill_hover="#f3f1ee",
        button_secondary_background_fill_hover_dark="#322f2c",
        button_secondary_border_color="#d6d1ca",
        button_secondary_border_color_dark="#45413d",
        button_border_width="1px",
    )
