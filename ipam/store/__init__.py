"""Where state is kept: one small port, and what is behind it."""
