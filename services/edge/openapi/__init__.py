"""The OpenAPI document of the HTTP API, made from its routes and types.

A new endpoint needs its route in services/edge/service.py and one entry in `operations.py`.
"""
