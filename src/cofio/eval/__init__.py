"""Measures recall on labelled meetings, through the code that answers `/api/v2/query`."""
