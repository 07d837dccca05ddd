"""The definitions behind `nats.js.api`, by subject. Import them from there."""
