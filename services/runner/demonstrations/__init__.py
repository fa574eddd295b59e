"""Models for a runner that was given none: small ones that come as packages, and ones that are constructed.

They let a laptop and the tests go the whole way through a real engine. docs/decisions/0020 says what each can do.
Engines know nothing of them: `engines/choice.py` gives an engine the path of one where the settings name no model.
"""
