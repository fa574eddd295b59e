"""Sound: from samples to files as they are made, and from uploaded files to samples."""
