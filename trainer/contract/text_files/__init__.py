"""Files of rows as text: lines to records that know their line, and the formats a file may have."""
