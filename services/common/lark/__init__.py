"""Lark grammars for the input of custom tools, in the dialect that llguidance reads."""
