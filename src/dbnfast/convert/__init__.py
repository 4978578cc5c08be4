"""What records become: frames, Arrow, text, Parquet; and text that becomes records."""
