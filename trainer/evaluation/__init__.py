"""What `evaluate` says of a split beyond one number: calibration, curves, baselines, slices and robustness."""
