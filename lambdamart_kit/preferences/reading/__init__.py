"""Files of preference pairs: records of any container, and the layouts they come in."""
