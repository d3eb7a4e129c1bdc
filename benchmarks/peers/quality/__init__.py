"""What learns from a thousand rows: quality against cost."""
