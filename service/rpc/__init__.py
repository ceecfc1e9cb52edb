"""The gRPC surface. The only part of the service that knows the wire."""
