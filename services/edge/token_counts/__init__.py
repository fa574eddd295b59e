"""Exact token counts of prompts: free, and without an answer."""
