"""What is measured, against which floor and which peer. Ratios from one run; see RESULTS.md."""
