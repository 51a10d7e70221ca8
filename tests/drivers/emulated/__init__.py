"""Programs that cannot be had here, imitated over real HTTP from their source and manuals."""
