"""The origin of a file: its datum, inputs, code and environment, and exports of these for other programs."""
