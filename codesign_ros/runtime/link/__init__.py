"""What a robot knows of its link, measured by what crosses it."""
