"""Charts as SVG that fits the page: its colours, its fonts, and no byte that changes from call to call."""
