"""Where a file comes from: its datum, inputs, code and environment, and exports of that for other programs."""
