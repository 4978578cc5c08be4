"""What every other package may use: buffers, times, threads, files that appear whole, arguments."""
