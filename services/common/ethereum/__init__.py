"""Addresses and signatures of Ethereum: the few lines of it that services share.

The libraries are in the extra `payments`, and are imported where they are used.
"""
