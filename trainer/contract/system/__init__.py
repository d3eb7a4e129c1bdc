"""What the operating system is asked for: processors, memory, locks, and files that are whole or absent."""
