"""Conversations for engines that write their own prompts: servers that take messages and functions as they are."""
