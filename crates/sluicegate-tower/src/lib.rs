//! A tower layer that asks the limiter before the inner service.
