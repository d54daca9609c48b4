"""What is to be solved: the schema of task.yaml, reading and checking it, problems and their splits."""
