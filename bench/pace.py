"""How fast tokens come while their cost is measured.

Fast enough that no time is lost, slow enough that streams really run side by side, as they do on a GPU.
"""

# Tokens a second of each stream.
STREAM_SPEED = 200.0
