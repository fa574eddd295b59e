"""gRPC between services: servers, channels, mutual TLS, and how replicas are found."""
