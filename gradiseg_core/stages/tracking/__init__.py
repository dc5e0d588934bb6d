"""Stage `tracking`: one ID per object over all views."""
