"""HTTP: middleware, routes, wire types, the error envelope, OpenAPI."""
