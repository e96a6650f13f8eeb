"""The job folder: where things lie in it, which number a stage has, who holds it, where an input is found."""
