"""What keeps secrets out of the record: the redactor that everything written passes, and how each kind is found."""
