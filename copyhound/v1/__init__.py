"""Generated from proto/copyhound/v1."""
