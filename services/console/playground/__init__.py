"""The playground: what a person asks in the console, and how the API answers it."""
