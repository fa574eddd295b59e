"""What the owner of an account may ask: models, balance, usage, receipts and keys. None of it is charged."""
