"""Released instruments: one file a version, and the pure reader that checks them."""
