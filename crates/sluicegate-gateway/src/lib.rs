//! The gateway: a reverse proxy with limits in its request path.
