"""The images of a conversation: their places in a prompt, and their pixels."""
