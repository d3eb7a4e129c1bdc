"""Files of any format to records, and their cells to labels."""
