"""Where datum sets run: one small interface, one file per engine."""
