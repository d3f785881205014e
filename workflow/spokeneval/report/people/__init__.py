"""Do the automatic numbers agree with people? Tables, figures and page section of the studies of a report."""
