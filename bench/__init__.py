"""Figures, as ratios against baselines in the same run; shown, never asserted by a timed test."""
