"""The OpenAPI document of the HTTP API, made from the routes that the endpoints export."""
