"""The Encoders tab."""
