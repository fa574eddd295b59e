"""Calls that generate text: jobs, conversations, and the replies that carry tokens."""
