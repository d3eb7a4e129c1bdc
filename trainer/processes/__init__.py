"""The processes of a launch: the device of each, and how they train one network together."""
