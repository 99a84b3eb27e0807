//! What Prometheus is to scrape, and when it is to wake somebody.
