"""What every exported file is held against: torch on the same rows, for parity and for speed."""
