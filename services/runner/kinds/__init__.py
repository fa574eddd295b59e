"""The kinds of models: how each reads its calls and writes its replies."""
