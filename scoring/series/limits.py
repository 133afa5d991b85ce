"""What a window may be at most: settings refuse more, and so does reading an artifact."""

MOST_IN_WINDOW = 1024  # records; a longer one costs more than it tells
MOST_DIRECTIONS = 1024
