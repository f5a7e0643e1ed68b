"""What every floor above uses and no reader needs: checks, files, cores, a quiet TensorFlow."""
