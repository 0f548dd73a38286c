"""Sound: files to waveforms, waveforms to vectors."""
