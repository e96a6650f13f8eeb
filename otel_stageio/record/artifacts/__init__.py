"""What a stage reads and makes: tracked, described, and hashed."""
