"""Recordings are found below a folder, and a window of one is read without the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cpchub.errors import SourceError
from cpchub.media.sounds import find_recordings, read_sound
from tests.cpchub.tiny_audio import waveform

soundfile: Any = pytest.importorskip("soundfile")


class TestFiles:
    def test_recordings_are_found_below_a_folder_with_their_lengths(self, tmp_path: Path) -> None:
        (tmp_path / "b").mkdir()
        soundfile.write(tmp_path / "b" / "1.flac", waveform(120), 16_000)
        soundfile.write(tmp_path / "a.wav", waveform(80), 8000)
        (tmp_path / "notes.txt").write_text("no sound")
        found = find_recordings(tmp_path)
        assert [(r.path, r.sample_rate, r.samples) for r in found] == [("a.wav", 8000, 80), ("b/1.flac", 16_000, 120)]

    def test_a_window_is_read_without_the_rest(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.flac", waveform(500), 8000)
        whole, _ = read_sound(tmp_path / "a.flac")
        window, rate = read_sound(tmp_path / "a.flac", start=100, samples=50)
        assert rate == 8000
        assert np.array_equal(window, whole[100:150])

    def test_a_folder_without_sound_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="no recordings"):
            find_recordings(tmp_path)
        with pytest.raises(SourceError, match="no folder"):
            find_recordings(tmp_path / "nowhere")
