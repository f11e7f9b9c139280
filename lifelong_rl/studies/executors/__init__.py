"""What runs the processes of a study's cells: this machine, a Ray cluster, or Slurm."""
