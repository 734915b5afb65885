"""Services: pipelines whose program runs until it is stopped. A supervisor starts, replaces and ends them."""
